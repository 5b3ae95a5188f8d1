"""The paper's numbers: complete, consistent where the paper is, and guarded against slips."""

from pathlib import Path

import pandas as pd
import pytest

from robustseg.errors import RobustsegError
from robustseg.evidence.reported import read_reported, reported_label

FOLDER = Path(__file__).parents[2] / "config" / "paper"
PIR_AT = "pir_at_5_50ep_upernet_convnext_t"
CLEAN = "clean_50ep_upernet_convnext_t"
HEADER = "table,dataset,model,attack,eps_255,metric,value,std,by"
ROW = "table1,voc,clean,sea,4,acc,1.5,,paper"


@pytest.fixture(scope="module")
def reported() -> pd.DataFrame:
    return read_reported(FOLDER)


def values(reported: pd.DataFrame, table: str, **where: str | float) -> dict[tuple, float]:
    """Return {(dataset, model, eps_255, metric): value} of the rows that match."""
    rows = reported[reported["table"] == table]
    for column, word in where.items():
        rows = rows[rows[column] == word]
    return rows.set_index(["dataset", "model", "eps_255", "metric"])["value"].to_dict()


def differences(one: dict[tuple, float], other: dict[tuple, float]) -> dict[tuple, tuple]:
    common = one.keys() & other.keys()
    assert common, "the two tables share no cell"
    return {key: (one[key], other[key]) for key in common if one[key] != other[key]}


def test_the_models_of_table_3_are_told_in_words(reported: pd.DataFrame) -> None:
    labels = {
        model: reported_label(model)
        for model in set(reported[reported["table"] == "table3"]["model"])
    }
    assert labels[PIR_AT] == "PIR-AT, 5 steps, 50 epochs, UPerNet + ConvNeXt-T"
    assert len(set(labels.values())) == len(labels)
    others = {model for model, label in labels.items() if "_" in label}
    assert others == {"segpgd_at_7_50ep_pspnet_resnet50"}  # which has no figure under SEA


def test_every_printed_number_is_there(reported: pd.DataFrame) -> None:
    # rows x columns of numbers, counted on the printed tables
    expected = {
        "table1": 6 * 8,
        "table2": 2 * (4 * 14 + 2),
        "table3": 11 * 8 + 2,
        "table4": 14 * 8,
        "table5": 4 + 8 + 4 + 4 + 8 + 8 + 8 + 6 + 4 + 2 + 3,
        "table6": 6 * 2,
        "table7": 4 * 8,
        "table8": 4 * 8,
        "table9": 13 * 8,
        "table10": 4 * 8,
        "table11": 3 * 8,
        "appendix_c3": 5 * 2,  # pairs in the text
    }
    assert reported["table"].value_counts(sort=False).to_dict() == expected
    assert reported["std"].notna().sum() == 4 * 8
    assert set(reported.loc[reported["std"].notna(), "table"]) == {"table10"}


@pytest.mark.parametrize(
    ("table", "dataset", "model", "attack", "eps_255", "metric", "value"),
    [
        ("table1", "voc", "ddc_at_3_50ep_pspnet_resnet50", "cospgd", 8, "miou", 3.2),
        ("table1", "voc", PIR_AT, "segpgd", 12, "acc", 44.9),
        ("table2", "voc", CLEAN, "mask_sph", 1, "acc", 6.6),
        ("table2", "voc", PIR_AT, "cossim_ce", 8, "miou", 47.3),
        ("table3", "voc", "segpgd_at_7_50ep_pspnet_resnet50", "segpgd", 8, "miou", 17.0),
        ("table3", "ade20k", "at_5_128ep_segmenter_vit_s", "sea", 12, "miou", 0.8),
        ("table4", "voc", "at_2_50ep_upernet_convnext_t", "sea", 4, "acc", 2.6),
        ("table4", "ade20k", "pir_at_5_32ep_upernet_convnext_t", "sea", 8, "acc", 28.3),
        ("table5", "ade20k", "segmenter", "none", 0, "learning_rate", 2e-3),
        ("table5", "voc", "upernet", "none", 0, "warmup_epochs_long", 30),
        ("table6", "imagenet", "convnext_s_cvst_robust", "linf", 4, "acc", 52.4),
        ("table7", "voc", PIR_AT, "cosapgd", 16, "miou", 15.3),
        ("table8", "voc", CLEAN, "four_losses", 0.25, "miou", 40.0),
        ("table9", "ade20k", "pir_at_5_128ep_upernet_convnext_s", "B", 12, "acc", 4.1),
        ("table10", "voc", PIR_AT, "js", 12, "acc", 38.2),
        ("table11", "ade20k", "pir_at_5_128ep_segmenter_vit_s", "transfer_at", 12, "acc", 57.4),
        ("appendix_c3", "ade20k", "pir_at_2_128ep_upernet_convnext_t", "clean", 0, "miou", 37.5),
    ],
)
def test_spot_values(
    reported: pd.DataFrame,
    table: str,
    dataset: str,
    model: str,
    attack: str,
    eps_255: float,
    metric: str,
    value: float,
) -> None:
    cells = values(reported, table, attack=attack)
    assert cells[dataset, model, eps_255, metric] == value


def test_tables_agree_where_the_paper_prints_a_number_twice(reported: pd.DataFrame) -> None:
    def sea(table: str) -> dict[tuple, float]:
        return values(reported, table, attack="sea")

    segmenter = ("ade20k", "pir_at_5_128ep_segmenter_vit_s")
    disagreement = {
        (*segmenter, 8.0, "acc"): (32.8, 32.6),
        (*segmenter, 12.0, "acc"): (8.6, 7.6),
    }
    assert differences(sea("table1"), sea("table3")) == {}
    assert differences(sea("table3"), sea("table4")) == {}
    assert differences(sea("table3"), sea("table9")) == disagreement
    assert differences(sea("table3"), sea("table11")) == {}
    assert differences(sea("table9"), sea("table10")) == {
        ("voc", PIR_AT, 12.0, "acc"): (27.4, 27.3)
    }


def test_losses_agree_between_tables(reported: pd.DataFrame) -> None:
    worst = values(reported, "table2", attack="worst")
    assert differences(worst, values(reported, "table8", attack="all_losses")) == {}
    bal_ce = values(reported, "table2", attack="bal_ce")
    assert differences(bal_ce, values(reported, "table7", attack="segapgd")) == {}
    cossim = values(reported, "table2", attack="cossim_ce")
    assert differences(cossim, values(reported, "table7", attack="cosapgd")) == {
        ("voc", PIR_AT, 12.0, "acc"): (56.6, 56.2)
    }


def test_clean_scores_agree_but_for_the_known_one(reported: pd.DataFrame) -> None:
    table2, table3, table4 = (
        values(reported, table, attack="clean") for table in ("table2", "table3", "table4")
    )
    assert differences(table2, table3) == {("voc", PIR_AT, 0.0, "miou"): (75.9, 75.2)}
    assert differences(table3, table4) == {}


def test_table8_stands_at_table2s_radii(reported: pd.DataFrame) -> None:
    rows = reported[reported["table"] == "table8"]
    radii = rows.groupby("model")["eps_255"].unique().map(sorted).to_dict()
    assert radii == {CLEAN: [0.25, 0.5, 1, 2], PIR_AT: [4, 8, 12, 16]}


def test_others_results_are_flagged(reported: pd.DataFrame) -> None:
    others = reported[reported["by"] == "others"]
    assert others["table"].value_counts().to_dict() == {"table6": 12, "table3": 2}
    assert set(others.loc[others["table"] == "table3", "value"]) == {74.5, 17.0}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            [HEADER.replace("by", "note"), ROW],
            r"table1\.csv, line 1: the columns are .*,note; they",
        ),
        ([], r"table1\.csv, line 1: the columns are"),
        ([HEADER, ROW, ROW], r"line 3 repeats the number of line 2"),
        ([HEADER, ROW, ROW.replace("4,acc,1.5", "4.0,acc,2.5")], r"line 3 repeats"),
        ([HEADER, ROW.replace("1.5", "101")], r"line 2: value is 101; .* between 0 and 100"),
        ([HEADER, ROW.replace("1.5", "-1")], r"line 2: value is -1"),
        ([HEADER, ROW.replace("1.5", "nan")], r"line 2: value is nan"),
        ([HEADER, ROW.replace("1.5", "n/a")], r"line 2: value is 'n/a'; write a number"),
        ([HEADER, ROW.replace(",4,", ",300,")], r"line 2: eps_255 is 300"),
        ([HEADER, ROW.replace("acc", "Acc")], r"line 2: metric is 'Acc'; use one of acc, miou"),
        ([HEADER, ROW.replace("paper", "us")], r"line 2: by is 'us'; use one of paper, others"),
        ([HEADER, ROW.replace("table1", "table2")], r"line 2: table is table2; .* must be table1"),
        ([HEADER, ROW.replace("clean", "")], r"line 2: model is empty"),
        ([HEADER, ROW + ",1"], r"line 2 has 10 fields"),
        ([HEADER, ROW.replace("1.5", "1_0")], r"line 2: value is '1_0'; write a number"),
        ([HEADER, ROW.replace("1.5", "٣")], r"line 2: value is '٣'; write a number"),
        ([HEADER, ROW.replace("1.5", "1e999")], r"line 2: value is 1e999; it must be between"),
        ([HEADER.replace(",", ";"), ROW.replace(",", ";")], r"line 1: the columns are table;data"),
        ([HEADER.rpartition(",")[0], ROW], r"line 1: the columns are"),
        ([HEADER, '"' + "a" * 200_000 + '"'], r"line 1 is not CSV|line 2 is not CSV"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    tmp_path: Path, lines: list[str], sentence: str
) -> None:
    (tmp_path / "table1.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RobustsegError, match=sentence):
        read_reported(tmp_path)


def test_windows_files_are_read_and_other_encodings_named(tmp_path: Path) -> None:
    text = f"{HEADER}\r\n{ROW}\r\n"
    (tmp_path / "table1.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_reported(tmp_path)["value"].tolist() == [1.5]
    (tmp_path / "table1.csv").write_bytes(text.replace("clean", "café").encode("latin-1"))
    with pytest.raises(RobustsegError, match=r"table1\.csv is not UTF-8 text"):
        read_reported(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match=r"holds no \*\.csv"):
        read_reported(tmp_path)
