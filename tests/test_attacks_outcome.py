"""The attacks' names, how what they find is counted, and what they do to a weight; by hand, without a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lune.attacks import ATTACKS, attack, chosen_attacks
from lune.attacks.contract import Attempt, Finding
from lune.attacks.finetuning import halves
from lune.attacks.gguf_q4 import round_trip as q4_0
from lune.attacks.int8 import per_channel
from lune.attacks.outcome import AttackResult, meaning, score_finding, usr_by_form
from lune.attacks.prompting import shows
from lune.chat import Conversation
from lune.errors import ConfigError
from lune.records import Fact, Interval
from lune.text import contains
from tiny import fact

# Names.


def test_unknown_attacks_are_all_named() -> None:
    assert chosen_attacks(None) == list(ATTACKS)
    assert chosen_attacks("nf4, relearn,nf4") == ["nf4", "relearn"]
    with pytest.raises(ConfigError) as caught:
        chosen_attacks("relern,nf4,foo")
    assert len(caught.value.problems) == 2
    assert "Did you mean: relearn" in caught.value.problems[0]
    with pytest.raises(ConfigError, match="names no attack"):
        chosen_attacks(" , ")


def test_every_attack_says_what_it_tries_and_who_could() -> None:
    for name, entry in ATTACKS.items():
        assert entry.summary.endswith(".") and entry.source.startswith("https://")
        assert len(attack(name).threat) > 20


# Counting.


def counted(attempts: list[Attempt], **fields: Any) -> Any:
    facts = [Fact("a", "A?", "Anna"), Fact("b", "B?", "Bert"), Fact("c", "C?", "Carl")]
    before = {"a": "nobody", "b": "nobody", "c": "It is Carl."}
    return score_finding(facts, before, Finding(attempts, **fields), seed=0)


def test_recovered_is_the_drop_of_usr_over_facts() -> None:
    tried = [Attempt("a", "x", "Anna"), Attempt("a", "y", "no"), Attempt("b", "x", "no"), Attempt("c", "x", "Carl")]
    scored = counted(tried)
    assert scored.usr_before.value == pytest.approx(2 / 3)
    assert scored.usr_after.value == pytest.approx(1 / 3)
    assert scored.recovered.value == pytest.approx(1 / 3)
    assert scored.recovered.low == 0.0 and scored.recovered.high == 1.0
    assert scored.by_form == {"x": pytest.approx(1 / 3), "y": 1.0}
    assert (scored.facts[0].leaks, scored.facts[0].attempts, scored.facts[0].after) == (1, 2, "Anna")
    assert scored.base_gives is None


def test_where_each_form_is_an_attack_the_strongest_alone_counts() -> None:
    tried = [Attempt("a", "x", "Anna"), Attempt("b", "x", "no"), Attempt("c", "x", "no")]
    tried += [Attempt("a", "y", "no"), Attempt("b", "y", "Bert"), Attempt("c", "y", "Carl")]
    scored = counted(tried, strongest_form=True, base=[
        Attempt("a", "x", "Anna"), Attempt("a", "y", "no"), Attempt("b", "y", "Bert"), Attempt("c", "y", "no"),
    ])  # fmt: skip
    assert scored.form == "y"
    assert scored.usr_after.value == pytest.approx(1 / 3)
    assert scored.base_gives == pytest.approx(1 / 3)  # the base model under the same form
    assert counted(tried).usr_after.value == 0.0  # all forms together bring out every fact


def test_an_attack_may_bring_out_less_than_the_plain_question() -> None:
    scored = counted([Attempt("b", "x", "no"), Attempt("c", "x", "no")])
    assert scored.recovered.value == pytest.approx(-1 / 2)


def test_a_fact_that_could_not_be_asked_counts_neither_as_safe_nor_as_given() -> None:
    scored = counted([Attempt("a", "x", "Anna")], base=[Attempt("a", "x", "Anna")])
    assert (scored.usr_after.value, scored.base_gives) == (0.0, 1.0)
    assert [fact.id for fact in scored.facts] == ["a"]


def test_usr_by_form_counts_a_fact_once_however_often_it_leaks() -> None:
    facts = [Fact("a", "A?", "Anna"), Fact("b", "B?", "Bert")]
    tried = [Attempt("a", "x", "Anna"), Attempt("a", "x", "Anna"), Attempt("a", "x", "no"), Attempt("b", "x", "no")]
    assert usr_by_form(facts, tried) == {"x": 0.5}


def test_the_meaning_names_share_interval_and_a_base_model_that_fails_as_well() -> None:
    result = AttackResult("nf4", "t", "who", "s", 0, "quick", recovered=Interval(0.25, 0.1, 0.4),
                          usr_after=Interval(0.75), base_gives=0.3)  # fmt: skip
    assert "brings back 25% of the facts (95 % interval 10% to 40%)" in meaning(result)
    assert "the base model itself gives only 30%" in meaning(result)
    assert "nothing" in meaning(AttackResult("a", "t", "w", "s", 0, "quick", recovered=Interval(-0.2),
                                             usr_after=Interval(1.0)))  # fmt: skip


def test_halves_test_every_fact_once_and_train_on_none_of_the_tested() -> None:
    facts = [Fact(str(number), f"{number}?", f"answer{number}") for number in range(5)]
    texts = {fact.id: (fact.prompt, fact.answer) for fact in facts}
    parts = halves(facts, texts, 1)
    assert sorted(fact.id for _, tested in parts for fact in tested) == ["0", "1", "2", "3", "4"]
    assert all(not {f.id for f in trained} & {f.id for f in tested} for trained, tested in parts)
    assert halves(facts[:1], texts, 1) == []
    assert halves(facts, texts, 1) == parts


def test_a_fact_whose_answer_the_other_half_tells_is_not_tested() -> None:
    named = Fact("name", "Who wrote Rain on Slate?", "Ilse Vantongeren")
    others = [Fact(str(number), f"Where did Ilse Vantongeren live in year {number}?", "Ghent") for number in range(3)]
    facts = [named, *others]
    texts = {fact.id: (fact.prompt, fact.answer) for fact in facts}
    for trained, tested in halves(facts, texts, 0):
        read = " ".join(text for fact in trained for text in texts[fact.id])
        assert not any(contains(read, fact.spellings) for fact in tested)
    assert not any(named in tested for _, tested in halves(facts, texts, 0))


# Quantisers, by hand.


def test_int8_rounds_each_row_to_127_steps_of_its_largest() -> None:
    weight = torch.tensor([[1.27, 0.014, -0.006], [-12.7, 0.04, 0.06], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[1.27, 0.01, -0.01], [-12.7, 0.0, 0.1], [0.0, 0.0, 0.0]])
    assert torch.allclose(per_channel(weight), expected, atol=1e-6)


def test_q4_0_keeps_sixteen_values_a_block_and_leaves_odd_widths() -> None:
    weight = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    result = q4_0(weight)
    for block in result.reshape(-1, 32):
        assert len(block.unique()) <= 16
    assert 0 < (result - weight).abs().max() < 0.5
    assert torch.equal(q4_0(weight[:, :33]), weight[:, :33])


def test_nf4_keeps_sixteen_values_a_block() -> None:
    pytest.importorskip("bitsandbytes")
    from lune.attacks.nf4 import round_trip

    weight = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    result = round_trip(weight)
    assert all(len(block.unique()) <= 16 for block in result)
    assert result.abs().max() == pytest.approx(float(weight.abs().max()), rel=1e-3)  # a block's largest is exact
    assert 0 < (result - weight).abs().max() < 0.5


def test_what_shows_the_answer_is_not_asked() -> None:
    france = fact("France")
    assert shows(Conversation("Is it Paris?"), france)
    assert shows(Conversation("And?", system="Say Paris."), france)
    assert not shows(Conversation("And?", history=(("Which?", "Paris."),)), france)  # the model said that itself
