"""What other libraries call the signals: their names lead to ours, in messages; none of them is an attribute."""

ALIASES = {
    "ce": "CrossEntropy()",
    "crossentropyloss": "CrossEntropy()",
    "labelsmoothing": "CrossEntropy(smoothing=0.1)",
    "kl": "KL(temperature=4)",
    "kd": "KL(temperature=4)",
    "kldiv": "KL(temperature=4)",
    "distillkl": "KL(temperature=4)",
    "hinton": "KL(temperature=4)",
    "hintonkd": "KL(temperature=4)",
    "vanillakd": "KL(temperature=4)",
    "softtarget": "KL(temperature=4)",
    "softlabels": "KL(temperature=4)",
    "softtargets": "KL(temperature=4)",
    "mse": "LogitRegression()",
    "logits": "LogitRegression()",
    "decoupledkd": "DKD()",
    "fitnet": "Hint(student, teacher)",
    "fitnets": "Hint(student, teacher)",
    "hints": "Hint(student, teacher)",
    "ft": "Hint(student, teacher), or AttentionTransfer(student, teacher)",
    "at": "AttentionTransfer(student, teacher)",
    "attention": "AttentionTransfer(student, teacher)",
    "attentiontransferloss": "AttentionTransfer(student, teacher)",
    "atlosswithhooks": "AttentionTransfer(student, teacher)",
    "neuronselectivitytransfer": "NST(student, teacher)",
    "mmd": "NST(student, teacher)",
    "sp": "SimilarityPreserving(student, teacher)",
    "spkd": "SimilarityPreserving(student, teacher)",
    "similarity": "SimilarityPreserving(student, teacher)",
    "rkd": "RKDDistance(student, teacher) + 2 * RKDAngle(student, teacher)",
    "rkdd": "RKDDistance(student, teacher)",
    "rkda": "RKDAngle(student, teacher)",
    "infonce": "CRD(student, teacher)",
    "contrastive": "CRD(student, teacher)",
    "crdmemory": "MemoryCRD(student, teacher)",
    "contrastmemory": "MemoryCRD(student, teacher)",
    "probabilisticknowledgetransfer": "PKT(student, teacher)",
    "variationalinformation": "VID(student, teacher)",
    "hcl": "ReviewKD(student, teacher)",
    "hierarchicalcontext": "ReviewKD(student, teacher)",
    "knowledgereview": "ReviewKD(student, teacher)",
    "abf": "ReviewKD(student, teacher)",
    "simplekd": "SimKD(student, teacher)",
    "reusedteacherclassifier": "SimKD(student, teacher)",
    "multilevellogit": "MLKD()",
    "mlld": "MLKD()",
    "ofakd": "OFA(stages)",
    "vkdloss": "VKD(student, teacher)",
    "ban": "BornAgain()",
    "bornagainnetworks": "BornAgain()",
    "dml": "Mutual(), with train_together",
    "deepmutuallearning": "Mutual(), with train_together",
    "byot": "OwnTeacher(exits, deepest)",
    "selfdistillation": "OwnTeacher(exits, deepest)",
    "lwf": "OldClasses(classes)",
    "takd": "assistants(…)",
    "multiteacher": "Committee(teachers)",
    "plackettluce": "PLD()",
}
"""Another name, in small letters without signs and without "loss" at its end → what to write here."""

OURS = [
    "CrossEntropy",
    "KL",
    "LogitRegression",
    "DIST",
    "DKD",
    "MLKD",
    "Hint",
    "AttentionTransfer",
    "NST",
    "PKT",
    "VID",
    "Adversarial",
    "ReviewKD",
    "SimKD",
    "FSP",
    "RKDDistance",
    "RKDAngle",
    "SimilarityPreserving",
    "CRD",
    "MemoryCRD",
    "PLD",
    "ListMLE",
    "PListMLE",
    "BornAgain",
    "CWTM",
    "DKPP",
    "OFA",
    "VKD",
    "Mutual",
    "BDKD",
    "KDCL",
    "OwnTeacher",
    "OldClasses",
]


def hint(name: str) -> str:
    """What to write for another library's name of a signal; empty where none is known.

    Examples
    --------
    >>> hint("KDLoss"), hint("hint"), hint("Nonsense")
    ('KL(temperature=4)', 'Hint(…)', '')
    """
    plain = "".join(sign for sign in name.lower() if sign.isalnum())
    for key in (plain, plain.removesuffix("loss")):
        if key in ALIASES:
            return ALIASES[key]
        for own in OURS:
            if key == own.lower():
                return f"{own}(…)"
    return ""


def unknown(module: str, name: str, error: AttributeError) -> AttributeError:
    """The error of a module that lacks a name, with what to write instead where that is known."""
    use = "" if name.startswith("_") else hint(name)
    return AttributeError(f"{module} has no {name!r}: use {use}", name=name) if use else error
