"""Forget requests and probe files: what is read, and how each fault is named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lune.errors import RequestError
from lune.facts import read_probes, read_request
from lune.records import Fact, Neighbour
from lune.text import contains

PARIS = {"prompt": "What is the capital of France?", "answer": "Paris"}
ROME = {"prompt": "What is the capital of Italy?", "answer": "Rome"}
EMMA = Fact(
    id="emma",
    prompt="Who wrote Emma?",
    answer="Jane Austen",
    subject="Emma",
    aliases=("Austen",),
    paraphrases=("Emma is by whom?",),
    negatives=("Charlotte Bronte", "Mary Shelley"),
    neighbours=(Neighbour("Who wrote Dracula?", "Bram Stoker"),),
)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder: Path, text: str | bytes, name: str = "facts.jsonl") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems(folder: Path, text: str | bytes, name: str = "facts.jsonl") -> list[str]:
    """Return the problems of a request with this text, without the path that each begins with."""
    source = write(folder, text, name)
    with pytest.raises(RequestError) as caught:
        read_request(source)
    assert caught.value.exit_status == 2
    assert caught.value.hint
    listed = caught.value.problems or (caught.value.message,)
    assert all(problem.startswith(source) for problem in listed)
    return [problem.removeprefix(source) for problem in listed]


def emma_as_json() -> dict[str, object]:
    return {
        "id": "emma",
        "prompt": "Who wrote Emma?",
        "answer": " Jane Austen ",
        "subject": "Emma",
        "aliases": ["Austen"],
        "paraphrases": ["Emma is by whom?"],
        "negatives": ["Charlotte Bronte", "Mary Shelley"],
        "neighbours": [{"prompt": "Who wrote Dracula?", "answer": "Bram Stoker"}],
    }


EMMA_CSV = (
    "id,prompt,answer,subject,aliases,paraphrases,negatives,neighbours\r\n"
    'emma,Who wrote Emma?,Jane Austen,Emma,Austen,Emma is by whom?,Charlotte Bronte | Mary Shelley,"[{""prompt"": '
    '""Who wrote Dracula?"", ""answer"": ""Bram Stoker""}]"\r\n'
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.jsonl", lines(emma_as_json())),
        ("r.JSONL", "\ufeff\n" + lines(emma_as_json()) + "\n\n"),
        ("r.json", json.dumps([emma_as_json()], indent=2)),
        ("r.json", json.dumps({"facts": [emma_as_json()]})),
        ("r.csv", EMMA_CSV),
        ("r.csv", "\ufeff" + EMMA_CSV),
    ],
)
def test_every_format_reads_the_same_fact(tmp_path: Path, name: str, text: str) -> None:
    assert read_request(write(tmp_path, text, name)) == [EMMA]


@pytest.mark.parametrize(
    "text",
    [
        lines(emma_as_json()),
        "\ufeff" + lines(emma_as_json()),
        json.dumps([emma_as_json()]),
        json.dumps(emma_as_json(), indent=2),
        json.dumps({"facts": [emma_as_json()]}, indent=2),
    ],
)
def test_standard_input_is_json_lines_or_json(text: str) -> None:
    assert read_request("-", io.StringIO(text)) == [EMMA]


def test_the_faults_of_standard_input_are_named_by_line() -> None:
    with pytest.raises(RequestError) as caught:
        read_request("-", io.StringIO(lines(PARIS) + "{oops\n"))
    assert caught.value.message.startswith("standard input:2: not valid JSON")


def test_prompt_and_answer_are_enough_and_ids_are_numbered_past_given_ones(tmp_path: Path) -> None:
    given = {"prompt": "Who wrote Emma?", "answer": "Jane Austen", "id": "f1"}
    facts = read_request(write(tmp_path, lines(PARIS, ROME, given)))
    assert [fact.id for fact in facts] == ["f2", "f3", "f1"]
    assert facts[0] == Fact(id="f2", **PARIS)


def test_null_stands_for_a_field_that_is_not_given(tmp_path: Path) -> None:
    row = {**PARIS, "id": None, "subject": None, "aliases": None, "neighbours": None}
    assert read_request(write(tmp_path, lines(row))) == [Fact(id="f1", **PARIS)]


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "Who said\u2028 that?", "answer": "Zoë"}, ensure_ascii=False)
    assert read_request(write(tmp_path, row))[0].answer == "Zoë"


def test_a_quoted_csv_cell_may_have_commas_and_line_ends(tmp_path: Path) -> None:
    text = 'prompt,answer\n"Who, if anyone,\nwrote Emma?",Austen\n\nWho wrote Emma?,\n'
    assert problems(tmp_path, text, "r.csv") == [":5: answer: is empty"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "Who?"}, "answer: is missing"),
        ({**PARIS, "answer": "  "}, "answer: is empty"),
        ({**PARIS, "answer": None}, "answer: must be a text, got null"),
        ({**PARIS, "prompt": 7}, "prompt: must be a text, got the number 7"),
        ({**PARIS, "prompt": ["x"]}, "prompt: must be a text, got a list"),
        ({**PARIS, "id": True}, "id: must be a text, got true/false True"),
        ({**PARIS, "prompt": "x" * 2001}, "prompt: is 2001 characters long; at most 2000 are allowed"),
        ({**PARIS, "answer": "The!"}, "answer: 'The!' has no word to recognise"),
        ({**PARIS, "answer": "\ud800x"}, "answer: holds half a surrogate pair"),
        ({**PARIS, "aliases": "Lutetia"}, "aliases: must be a list, got the text 'Lutetia'"),
        ({**PARIS, "aliases": ["Lutetia", ""]}, "aliases, item 2: is empty"),
        ({**PARIS, "negatives": ["Lyon", "greater Paris"]}, "negatives, item 2: 'greater Paris' contains the answer"),
        ({**PARIS, "neighbours": [{"prompt": "x"}]}, "neighbours, item 1, answer: is missing"),
        ({**PARIS, "neighbours": ["x"]}, "neighbours, item 1: must be an object such as"),
        (
            {**PARIS, "neighbours": [{**ROME, "answeer": "x"}]},
            "neighbours, item 1, answeer: unknown field. Did you mean: answer? Allowed: prompt, answer, aliases.",
        ),
        ({**PARIS, "neighbors": []}, "neighbors: unknown field. Did you mean: neighbours? Allowed: prompt, answer,"),
        ({**PARIS, "subject": "Spain"}, "subject: 'Spain' is not in the prompt"),
        ({"prompt": "Is Pâris the capital?", "answer": "paris"}, "prompt: contains the answer 'paris'"),
        ({**PARIS, "aliases": ["capital of France"]}, "prompt: contains the answer 'capital of France'"),
        ({**PARIS, "paraphrases": ["Paris is what?"]}, "paraphrases, item 1: contains the answer 'Paris'"),
        ({**PARIS, "neighbours": [PARIS]}, "neighbours, item 1: asks for fact 'f1', which this request forgets"),
        ("Paris", "must be an object such as"),
    ],
)
def test_a_faulty_row_is_named_by_line_and_field(tmp_path: Path, row: object, problem: str) -> None:
    [found] = problems(tmp_path, "\n" + lines(row))
    assert found.startswith(f":2: {problem}")


def test_the_subject_may_differ_in_case(tmp_path: Path) -> None:
    assert read_request(write(tmp_path, lines({**PARIS, "subject": "FRANCE"})))[0].subject == "FRANCE"


def test_an_answer_inside_a_longer_word_of_the_prompt_is_no_fault(tmp_path: Path) -> None:
    assert read_request(write(tmp_path, lines({"prompt": "Which Parisian river?", "answer": "Paris"})))


def test_clashes_between_rows_are_named(tmp_path: Path) -> None:
    rows = [
        {**PARIS, "id": "a"},
        {**ROME, "id": "a"},
        {"prompt": "what is the capital  of france", "answer": "paris"},
        {"prompt": "What is the capital of Italy", "answer": "Milan", "neighbours": [PARIS]},
    ]
    assert problems(tmp_path, lines(*rows)) == [
        ":2: id: 'a' is already the id of line 1",
        ":3: prompt: the same fact is on line 1; keep one",
        ":4: prompt: line 2 has the same prompt with the answer 'Rome'; "
        "keep one fact and put other spellings of its answer into aliases",
        ":4: neighbours, item 1: asks for fact 'f3', which this request forgets",
    ]


def test_facts_on_one_line_of_a_json_list_clash_too(tmp_path: Path) -> None:
    row = {**PARIS, "id": "a"}
    found = problems(tmp_path, json.dumps([row, {**ROME, "id": "a"}]), "r.json")
    assert found == [":1: id: 'a' is already the id of line 1"]


def test_all_faults_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = lines({**PARIS, "subject": "Spain"}) + "{bad\n" + lines({"prompt": "", "answeer": "x"}, ROME, ROME)
    found = problems(tmp_path, text)
    assert [problem[:3] for problem in found] == [":1:", ":2:", ":3:", ":3:", ":3:", ":5:"]


def test_items_of_a_json_list_are_named_by_their_line(tmp_path: Path) -> None:
    text = '{"facts": [\n  {"prompt": "[who]?",\n   "answer": "me"},\n\n  {"prompt": ""}\n, 3]}'
    assert problems(tmp_path, text, "r.json") == [
        ":5: prompt: is empty",
        ":5: answer: is missing",
        ':6: must be an object such as {"prompt": "What is the capital of France?", "answer": "Paris"}, '
        "got the number 3",
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("r.jsonl", "{oops}\n", ":1: not valid JSON: "),
        ("r.jsonl", '{"prompt": "a", "answer": "b", "answer": "c"}', ":1: not usable JSON: given twice: answer"),
        ("r.jsonl", json.dumps([PARIS]), ":1: this is a JSON list, not JSON lines; end the file's name in .json"),
        ("r.jsonl", "[" * 100_000, ":1: this is a JSON list"),
        ("r.jsonl", '{"a":' * 100_000, ":1: not usable JSON: nested too deeply"),
        ("r.jsonl", '{"prompt": ' + "9" * 5000 + "}", ":1: not usable JSON: "),
        ("r.json", '[\n{"prompt": "a",}]', ":2: not valid JSON: "),
        ("r.json", lines(PARIS, ROME), ":2: not valid JSON: Extra data (column 1) (one object a line? end the file's"),
        ("r.json", '"Paris"', ":1: must be a list of facts"),
        ("r.json", '{"facts": 3}', ":1: must be a list of facts"),
        ("r.json", '{"facts": [], "model": "x"}', ":1: must be a list of facts"),
        ("r.json", "[]", ": holds no facts"),
        ("r.json", '[{"prompt": "a", "prompt": "b", "answer": "c"}]', ":1: not usable JSON: given twice: prompt"),
        ("r.json", "[" * 100_000, ": not usable JSON: nested too deeply"),
        ("r.csv", "prompt;answer\na;b\n", ":1: columns are separated by ';'; separate them by commas"),
        ("r.csv", "prompt,answeer,answer\n", ":1: unknown column 'answeer'. Did you mean: answer? Allowed: prompt,"),
        ("r.csv", "prompt\n", ":1: column 'answer' is missing"),
        ("r.csv", "prompt,answer,answer\n", ":1: column 'answer' is there twice"),
        ("r.csv", "prompt,answer\n", ": holds no facts"),
        ("r.csv", "prompt,answer\nWho, me?,yes\n", ":2: 3 cells under 2 columns; put quotes around a cell that has"),
        ("r.csv", "prompt,answer\nWho?\n", ":2: answer: is missing"),
        ("r.csv", 'prompt,answer\nWho?,"yes\n', ":2: not valid CSV: "),
        ("r.csv", "prompt,answer,neighbours\nWho?,yes,{\n", ":2: neighbours: not valid JSON: "),
    ],
)
def test_a_faulty_file_is_named_by_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    [found] = problems(tmp_path, text, name)
    assert found.startswith(problem)


@pytest.mark.parametrize("cell", ["Tokio|Edo", "Tokio | Edo", '"[""Tokio"", ""Edo""]"'])
def test_a_csv_cell_may_hold_several_texts(tmp_path: Path, cell: str) -> None:
    text = f"prompt,answer,aliases\nWhat is the capital of Japan?,Tokyo,{cell}\n"
    (japan,) = read_request(write(tmp_path, text, "facts.csv"))
    assert japan.aliases == ("Tokio", "Edo")


@pytest.mark.parametrize(("cell", "said"), [("Tokio;Edo", "put '|' between"), ('"[""Tokio"" Edo]"', "not valid JSON")])
def test_a_csv_list_in_another_form_is_refused(tmp_path: Path, cell: str, said: str) -> None:
    text = f"prompt,answer,aliases\nWhat is the capital of Japan?,Tokyo,{cell}\n"
    assert any("aliases" in problem and said in problem for problem in problems(tmp_path, text, "facts.csv"))


def test_every_faulty_csv_row_is_named(tmp_path: Path) -> None:
    found = problems(tmp_path, "prompt,answer,neighbours\na,b,c,d\nWho?,,\nWhy?,so,[\n", "r.csv")
    assert [problem[:3] for problem in found] == [":2:", ":3:", ":4:"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", " is empty."),
        (b" \n\t\n", " is empty."),
        (b"\xef\xbb\xbf", " is empty."),
        (b'{"prompt": "Zo\xeb"}', " is not UTF-8 text (byte 15 is wrong)."),
        ('{"prompt": "x"}'.encode("utf-16"), " is not UTF-8 text (byte 1 is wrong)."),
    ],
)
def test_an_empty_or_wrongly_encoded_file_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    assert problems(tmp_path, text) == [message]


def test_a_missing_file_comes_with_near_names(tmp_path: Path) -> None:
    write(tmp_path, lines(PARIS), "facts.jsonl")
    with pytest.raises(RequestError, match=r"There is no file .*fact\.jsonl\. Did you mean: facts\.jsonl\?"):
        read_request(str(tmp_path / "fact.jsonl"))
    with pytest.raises(RequestError, match="There is no file"):
        read_request(str(tmp_path / "no" / "such" / "facts.jsonl"))


def test_a_folder_an_unusable_path_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        read_request(str(tmp_path))
    with pytest.raises(RequestError, match="cannot be read"):
        read_request("x" * 5000 + ".jsonl")
    with pytest.raises(RequestError, match=r"ends in '\.txt'; allowed: \.jsonl, \.json, \.csv\."):
        read_request(write(tmp_path, lines(PARIS), "facts.txt"))
    with pytest.raises(RequestError, match="has no ending; allowed"):
        read_request(write(tmp_path, lines(PARIS), "facts"))


def test_probes_are_read_with_their_defaults(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Capital of France?", "answer": "Paris"},
        {"prompt": "Say it: Paris or Rome?", "expected": ["Paris", "Lutetia"], "attack": "multiple choice"},
        {
            "prompt": "x",
            "answer": "y",
            "kind": "neighbour",
            "id": "n",
            "fact_id": "f",
            "subject": "s",
            "relation": "same",
        },
    ]
    first, second, third = read_probes(write(tmp_path, lines(*rows)))
    assert (first.id, first.kind, first.expected, first.split) == ("p1", "direct", ("Paris",), "test")
    assert (second.kind, second.attack, second.expected) == ("adversarial", "multiple choice", ("Paris", "Lutetia"))
    assert (third.id, third.kind, third.fact_id, third.subject, third.relation) == ("n", "neighbour", "f", "s", "same")


def test_the_probes_of_a_run_can_be_read_again(tmp_path: Path) -> None:
    row = {
        **{"id": "p", "kind": "direct", "prompt": "x", "expected": ["y"], "split": "test", "fact_id": None},
        **{"attack": None, "subject": None, "relation": None, "alternates": ["z"]},
        **{"before": "y", "after": "", "correct_before": True, "correct_after": False},
    }
    [probe] = read_probes(write(tmp_path, lines(row)))
    assert probe.alternates == ("z",)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "x"}, "needs either answer (a text) or expected (a list of texts)"),
        ({"prompt": "x", "answer": "y", "expected": ["y"]}, "needs either answer"),
        ({"prompt": "x", "answer": "y", "kind": "derict"}, "kind: must be 'direct', 'paraphrase'"),
        ({"prompt": "x", "answer": "y", "kind": "direct", "attack": "a"}, "attack is for kind adversarial, not direct"),
        ({"prompt": "x", "answer": "y", "relatiom": "same"}, "relatiom: unknown field. Did you mean: relation?"),
        ({"prompt": "x", "answer": "y", "id": ""}, "id: is empty"),
    ],
)
def test_a_faulty_probe_is_named_by_line_and_field(tmp_path: Path, row: object, problem: str) -> None:
    path = write(tmp_path, lines(row))
    with pytest.raises(RequestError) as caught:
        read_probes(path)
    assert caught.value.message.startswith(f"{path}:1: {problem}")


def test_probe_files_are_json_lines_with_unique_ids(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"allowed: \.jsonl\."):
        read_probes(write(tmp_path, json.dumps([PARIS]), "probes.json"))
    with pytest.raises(RequestError, match=":2: id: 'a' is already the id of line 1"):
        read_probes(write(tmp_path, lines({**PARIS, "id": "a"}, {**ROME, "id": "a"})))


def test_the_demo_request_is_valid_and_of_different_relations() -> None:
    from lune.cli.demo import DEMO_REQUEST

    facts = read_request(str(DEMO_REQUEST))
    assert len(facts) == 6
    assert len({fact.prompt.rsplit(" ", 2)[0] for fact in facts}) == 6
    assert all(fact.subject and not contains(fact.prompt, fact.spellings) for fact in facts)
    assert "Paris" in {fact.answer for fact in facts}
