"""Text: pieces of a file or folder, pairs, instructions; what is wrong is named."""

import pytest
import torch

import workbench as wb
from workbench.data.instructions import answer
from workbench.data.vocabulary import END, PAD, Vocabulary


@pytest.fixture
def poem(tmp_path):
    file = tmp_path / "poem.txt"
    file.write_text("".join(chr(97 + k % 26) for k in range(1000)), encoding="utf-8")
    return file


def test_pieces_are_the_text_and_held_out_ones_are_whole(poem):
    data = wb.data.load(poem, prompt=6, response=14, seed=3)
    whole = poem.read_text()
    for split in (data.train, data.test):
        for place, start, rest in zip(split.index.tolist(), split.prompts(), split.responses(), strict=True):
            assert start + rest == whole[20 * place : 20 * place + 20]
    assert sorted([*data.train.index.tolist(), *data.test.index.tolist()]) == list(range(50))
    assert (len(data.train), len(data.test), data.task, data.classes) == (45, 5, "text", ())


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    for name, content in (("b.txt", "bb" * 30), ("a.md", "aa" * 30)):
        (tmp_path / name).write_text(content)
    data = wb.data.load(tmp_path, prompt=2, response=8)
    firsts = dict(zip(data.train.index.tolist(), data.train.prompts(), strict=True))
    assert firsts[min(firsts)][0] == "a"
    assert firsts[max(firsts)][-1] == "b"


def test_same_seed_same_bits_and_most_is_a_beginning(poem):
    one, other = (wb.data.load(poem, prompt=4, response=6, most=20) for _ in range(2))
    assert wb.data.fingerprint(one) == wb.data.fingerprint(other)
    assert len(one.train) + len(one.test) == 20
    assert wb.data.fingerprint(one) != wb.data.fingerprint(wb.data.load(poem, prompt=4, response=6, most=20, seed=1))


def test_subset_take_and_devices_keep_the_kind(poem):
    data = wb.data.load(poem, prompt=4, response=6)
    small, smaller = data.subset(20), data.subset(10)
    assert set(smaller.train.index.tolist()) <= set(small.train.index.tolist())
    assert data.to("cpu").train.take([0, 2]).vocabulary == data.train.vocabulary
    assert data.to("cpu").train.inputs.dtype == torch.int64


def test_the_bundled_english_reads_as_it_stands():
    data = wb.data.load("descriptions")
    whole = "".join(a + b for a, b in zip(data.train.prompts(), data.train.responses(), strict=True))
    assert whole.count(" the ") > 50
    assert len(data.test) / (len(data.test) + len(data.train)) == pytest.approx(0.2, abs=0.01)


def test_token_ids_stay_whole_numbers():
    data = wb.data.load("instructions", n_train=5, n_test=5).to(dtype=torch.float64)
    assert data.train.labels.dtype == torch.int64


def test_pairs_are_padded_outwards():
    data = wb.data.from_pairs("pairs", [("ab", "c"), ("a", "bc")], [("c", "a")])
    assert data.train.inputs.tolist() == [[2, 3], [PAD, 2]]
    assert data.train.labels.tolist() == [[4, END, PAD], [3, 4, END]]
    assert data.train.vocabulary is data.test.vocabulary


def test_every_instruction_has_its_answer_and_none_occurs_twice():
    data = wb.data.load("instructions", n_train=300, n_test=60, seed=2)
    prompts = data.train.prompts() + data.test.prompts()
    assert len(set(prompts)) == 360
    assert [answer(p) for p in prompts] == data.train.responses() + data.test.responses()
    assert {p[0] for p in prompts} == set("arp")
    assert (answer("p:lady>"), answer("p:bax>"), answer("r:abcd>"), answer("a:49+2>")) == (
        "ladies", "baxes", "dcba", "51"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: wb.data.text(p / "none.txt"), "there is no file"),
        (wb.data.text, "holds no text file"),
        (lambda p: wb.data.load("descriptions", prompt=0), "prompt=0"),
        (lambda p: wb.data.from_pairs("x", [("a", "")], [("a", "b")]), "train row 0 has an empty response"),
        (lambda p: Vocabulary.of(["ab"]).encode("abz"), "'z' .position 2. is not among the 2 characters"),
        (lambda p: wb.data.instructions(n_train=5000, numbers=10, tasks=("add",)), "hardly more than"),
        (lambda p: wb.data.instructions(tasks=("sing",)), "must be some of add"),
        (lambda p: wb.data.load("instructions", colour=1), "no option 'colour'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, call, message):
    with pytest.raises(wb.data.DataError, match=message):
        call(tmp_path)


def test_a_file_that_is_too_short_or_no_text_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("abc")
    (tmp_path / "bytes.txt").write_bytes(b"abc\xff" * 100)
    with pytest.raises(wb.data.DataError, match="has 3 characters; two pieces of 64"):
        wb.data.load(tmp_path / "short.txt")
    with pytest.raises(wb.data.DataError, match="is not UTF-8 text: byte 3"):
        wb.data.load(tmp_path / "bytes.txt")


def test_ids_outside_the_vocabulary_and_empty_responses_are_refused():
    vocabulary = Vocabulary.of(["ab"])
    with pytest.raises(wb.data.DataError, match="hold ids from 9 to 9"):
        wb.data.TextSplit.of(torch.full((1, 2), 9), torch.full((1, 2), 2), vocabulary)
    with pytest.raises(wb.data.DataError, match="row 1 has an empty response"):
        wb.data.TextSplit.of(torch.full((2, 2), 2), torch.tensor([[2, 1], [0, 0]]), vocabulary)


def test_a_study_of_classifiers_refuses_text():
    from workbench.studies.kit.study import dataset

    with pytest.raises(ValueError, match="'instructions' has no classes"):
        dataset("instructions", None, "small")
