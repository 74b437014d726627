"""What makes an embeddings answer wrong."""

from __future__ import annotations

import json
import math

import pytest

from backend.load.prompts import planner
from backend.load.sentences import CORPUS_SIZE, corpus
from backend.load.spec import LoadSpec
from backend.load.vectors import BAD_VECTOR, OTHER_VECTOR, VectorCheck

URL = "http://127.0.0.1:1"


def body(*vectors: object) -> bytes:
    return json.dumps({"data": [{"embedding": vector} for vector in vectors], "model": "m"}).encode()


def named(check: VectorCheck, text: str, answer: bytes) -> str:
    problem = check.problem(text, answer)
    return "" if problem is None else problem.name


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"{}", "holds no vectors"),
        (body([1.0, 0.0], [0.0, 1.0]), "2 vectors came"),
        (body(), "0 vectors came"),
        (body([]), "0 dimensions"),
        (body([0.0, 0.0]), "zero or not finite"),
        (body([1e200, 1e200]), "zero or not finite"),
        (body(["a", 0.0]), "holds no vectors"),
        (body([None, 0.0]), "holds no vectors"),
        (b'{"data": [{"embedding": [NaN, 0.0]}]}', "holds no vectors"),
    ],
)
def test_answers_without_one_sane_vector(answer: bytes, words: str) -> None:
    problem = VectorCheck(LoadSpec(url=URL, kind="embeddings")).problem("t", answer)
    assert problem is not None
    assert problem.name == BAD_VECTOR
    assert words in problem.sentence


def test_the_dimension_is_the_first_answers_or_the_one_wanted() -> None:
    check = VectorCheck(LoadSpec(url=URL, kind="embeddings"))
    assert [named(check, "t", body([1.0] * n)) for n in (3, 3, 4)] == ["", "", BAD_VECTOR]
    wanted = VectorCheck(LoadSpec(url=URL, kind="embeddings", dimensions=4))
    assert [named(wanted, "t", body([1.0] * n)) for n in (3, 4)] == [BAD_VECTOR, ""]


def test_the_first_answer_is_the_golden_one_for_its_text() -> None:
    check = VectorCheck(LoadSpec(url=URL, kind="embeddings", golden=True, cosine_min=0.9999))
    near = [math.cos(0.01), math.sin(0.01)]
    far = [math.cos(0.02), math.sin(0.02)]
    assert named(check, "a", body([1.0, 0.0])) == ""
    assert named(check, "b", body([0.0, 1.0])) == ""
    assert [named(check, "a", body(one)) for one in ([1.0, 0.0], near, far)] == ["", "", OTHER_VECTOR]
    assert named(check, "b", body([1.0, 0.0])) == OTHER_VECTOR
    assert named(check, "a", body([2.0, 0.0])) == "", "length is no difference"
    loose = VectorCheck(LoadSpec(url=URL, kind="embeddings"))
    assert [named(loose, "a", body(one)) for one in ([1.0, 0.0], [0.0, 1.0])] == ["", ""]


def test_embeddings_ask_for_sentences_of_a_fixed_corpus_in_a_seeded_order() -> None:
    assert len(set(corpus())) == CORPUS_SIZE >= 512
    assert all(3 <= len(text.split()) <= 20 for text in corpus())

    def texts(seed: int) -> list[str]:
        plan = planner(LoadSpec(url=URL, kind="embeddings", seed=seed))
        return [plan(index).text for index in range(200)]

    assert texts(1) == texts(1) != texts(2)
    assert set(texts(1)) <= set(corpus())
    planned = planner(LoadSpec(url=URL, kind="embeddings"))(0)
    assert json.loads(planned.body)["input"] == planned.text
    assert not planned.stream
