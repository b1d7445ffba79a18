"""Causal models of transformers as teacher and as student, with random weights: none is downloaded."""

import pytest
import torch

import workbench as wb
from workbench import language as L
from workbench.data.vocabulary import END, PAD
from workbench.language.making import sequences
from workbench.models import generating

transformers = pytest.importorskip("transformers")
DATA = wb.data.load("instructions", n_train=32, n_test=8)
SIZE = {"vocab_size": len(DATA.train.vocabulary), "bos_token_id": END, "eos_token_id": END, "pad_token_id": PAD}


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_positions=32, n_embd=16, n_layer=2, n_head=2, **SIZE)
    return transformers.GPT2LMHeadModel(config)


def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=32, **SIZE,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def ours():
    return wb.models.build("lm", DATA, width=16, depth=1)


@pytest.mark.parametrize(("teacher", "student"), [(gpt2, ours), (ours, llama), (llama, gpt2)])
def test_each_teaches_the_other(teacher, student):
    learner = student()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    record = L.distill(
        teacher(), learner, DATA, L.DistiLLM(start=0.8, capacity=16), steps=3, batch=8, progress=False, device="cpu"
    )
    assert record.curves["test_loss"].isfinite().all()
    assert any(not torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert 0 <= L.judge(learner, DATA.test, ours()).agreement <= 1


@pytest.mark.parametrize("make", [gpt2, llama])
def test_greedy_text_is_that_of_their_own_generate(make):
    model = make().eval()
    ids = DATA.test.inputs
    there = (ids != PAD).long()
    mine = generating.generate(model, ids, there, max_new_tokens=6, do_sample=False, eos_token_id=END, pad_token_id=PAD)
    theirs = model.generate(ids, attention_mask=there, max_new_tokens=6, do_sample=False)
    assert mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("make", [gpt2, llama])
def test_padding_on_the_left_changes_nothing_for_them(make):
    model = make().eval()
    batch = sequences.of(DATA.test, slice(0, 4), torch.device("cpu"))
    wider = sequences.Sequences(torch.nn.functional.pad(batch.prompts, (3, 0)), batch.responses)
    with torch.no_grad():
        one, other = (sequences.response_logits(model, each) for each in (batch, wider))
    torch.testing.assert_close(one[~batch.padding], other[~batch.padding], atol=1e-5, rtol=1e-5)


def test_our_model_gives_what_theirs_gives_with_the_same_weights():
    theirs = gpt2().double().eval()
    mine = wb.models.build("lm", ((32,), SIZE["vocab_size"]), width=16, depth=2, heads=2).double().eval()
    names = {
        "wte.weight": "embedding.weight", "wpe.weight": "position.weight", "ln_f": "norm", "h.": "blocks.",
        "ln_1": "norm1", "attn.c_attn": "queries", "attn.c_proj": "out", "ln_2": "norm2", "mlp.c_fc": "wide",
        "mlp.c_proj": "narrow",
    }  # fmt: skip
    state = {}
    for name, value in theirs.transformer.state_dict().items():
        own = name
        for their, my in names.items():
            own = own.replace(their, my)
        turned = value.ndim == 2 and own.startswith("blocks")  # their linear layers hold the transposed matrix
        state[own] = value.T if turned else value
    mine.load_state_dict(state)
    ids = DATA.test.inputs
    there = (ids != PAD).long()
    places = generating.positions(there)
    expected = theirs(ids, attention_mask=there, position_ids=places).logits[there.bool()]
    torch.testing.assert_close(mine(ids, there).logits[there.bool()], expected)
