"""The questions that tables and figures answer, in reading order: on the page and in reports."""

SECTIONS = (
    (
        "Do existing attacks overestimate robustness?",
        "The same models under earlier attacks and under SEA, the image-wise worst case over four "
        "losses. The lower the accuracy, the stronger the attack and the closer to the truth.",
        ("table1", "table7", "figure6", "table11"),
    ),
    (
        "Which losses does an attack need?",
        "Each loss by itself, and the image-wise worst case over several of them.",
        ("table2", "table8", "table9"),
    ),
    (
        "How should the iterations be spent?",
        "The same number of iterations at constant radius, in restarts, or at a radius that is "
        "reduced step by step; then more or fewer of them, and other random seeds.",
        ("figure2", "figure3", "figure4", "figure5", "table10"),
    ),
    (
        "Does a robust backbone make adversarial training cheap?",
        "Adversarial training from a clean backbone (AT) and from a robust one (PIR-AT).",
        ("table3", "table4", "table5", "table6", "appendix_c3"),
    ),
    (
        "What do attacks look like?",
        "Perturbed images and what models predict on them, at growing radii.",
        ("figure1", "figure7", "figure8", "figure9", "figure10"),
    ),
    (
        "What holds over training seeds?",
        "Each effect over all training seeds, with the rule by which it counts as shown.",
        ("seeds",),
    ),
    (
        "Does it matter that training has seen validation images?",
        "The validation images inside and outside the training split, each part by itself.",
        ("leak",),
    ),
)
"""Reading order: question, what to look at, and the tables and figures that answer it."""

REST = "Further tables and figures"
"""Where what answers none of these questions is shown."""


def question_of(name: str) -> str:
    """Return the question that a table or figure answers."""
    return next((title for title, _, names in SECTIONS if name in names), REST)


OWN_LABELS = {
    "appendix_c3": "Appendix C.3",
    "seeds": "All training seeds",
    "leak": "Images seen in training",
    "ablation_training": "Ablation of training",
}
"""What those are called that the paper gives no number."""


def label_of(name: str) -> str:
    """Return what a table or figure is called: for example "Table 3"."""
    if name in OWN_LABELS:
        return OWN_LABELS[name]
    kind = "table" if name.startswith("table") else "figure"
    return f"{kind.capitalize()} {name.removeprefix(kind)}"
