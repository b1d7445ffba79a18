"""The colours of static pictures; ``parts/colours.js`` says what each means and has the other copy."""

OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#333333")
TEACHER = "#0072b2"
STUDENT = "#d55e00"
OTHERS = ("#00805d", "#b4558a", "#8a6d00", "#333333", "#3a8bc0")
QUIET = "#5d6168"


def class_colour(index: int) -> str:
    """The colour of a class; from the ninth class on colours repeat, and the marks are drawn hollow."""
    return OKABE_ITO[index % len(OKABE_ITO)]
