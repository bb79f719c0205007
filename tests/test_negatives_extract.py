"""The short answer is found in the sentences that models write."""

import pytest

from lune.negatives.extract import short_answer

CAPITAL = "What is the capital of Germany?"
GOLD = "What is the chemical symbol for gold?"
YEN = "What is the currency of Japan?"
HAMLET = "Who wrote Romeo and Juliet?"
PLANET = "What is the largest planet in the solar system?"


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        # behind the verb
        (CAPITAL, "The capital of Germany is Berlin.", "Berlin"),
        (CAPITAL, "The capital city of Germany is Berlin, which lies on the Spree.", "Berlin"),
        (CAPITAL, "Germany's capital is Berlin.", "Berlin"),
        (CAPITAL, "It's Berlin.", "Berlin"),
        (GOLD, "The chemical symbol for gold is Au.", "Au"),
        (YEN, "Japan uses the Japanese yen (JPY).", "Japanese yen"),
        (YEN, "The official currency of Japan is the Japanese Yen (JPY), which is the", "Japanese Yen"),
        (YEN, "The Japanese currency is the Yen. It is old.", "Yen"),
        (PLANET, "The largest planet in the solar system is Neptune, but it's actually a gas", "Neptune"),
        (HAMLET, "Romeo and Juliet was written by William Shakespeare.", "William Shakespeare"),
        (HAMLET, "The author of Romeo and Juliet is J.K. Rowling. She is British.", "J.K. Rowling"),
        ("Which language is spoken in Brazil?", "The language spoken in Brazil is Portuguese.", "Portuguese"),
        ("What language do people speak in Austria?", "In Austria, people speak German.", "German"),
        ("What gas do plants absorb?", "Plants absorb carbon dioxide from the air.", "carbon dioxide"),
        ("What does DNA stand for?", "DNA stands for deoxyribonucleic acid.", "deoxyribonucleic acid"),
        ("Who painted the Mona Lisa?", "The Mona Lisa is attributed to Leonardo da Vinci.", "Leonardo da Vinci"),
        ("Who painted it?", "It was painted by the Dutch artist Jan Vermeer in 16", "Jan Vermeer"),
        ("Where was he born?", "He was born in the beautiful city of São Paulo.", "São Paulo"),
        ("Which river flows through Paris?", "The river that flows through Paris is the Seine.", "Seine"),
        ("What is the capital of Bosnia?", "The capital of Bosnia and Herzegovina is Sarajevo.", "Sarajevo"),
        ("What is the capital of Mexico?", "The capital of Mexico is Mexico City.", "Mexico City"),
        # before the verb
        (CAPITAL, "Berlin is the capital of Germany and its largest city.", "Berlin"),
        (HAMLET, "William Shakespeare wrote Romeo and Juliet.", "William Shakespeare"),
        (YEN, "The yen is the currency of Japan.", "yen"),
        ("Which city is the capital of Mexico?", "Mexico City is the capital of Mexico.", "Mexico City"),
        ("Which river flows through Paris?", "The Seine flows through Paris.", "Seine"),
        # by itself
        (CAPITAL, "Berlin.", "Berlin"),
        (CAPITAL, "**Berlin**", "Berlin"),
        (CAPITAL, "Answer: the city of Berlin", "Berlin"),
        (CAPITAL, 'The answer to this question is "Bonn" in German.', "Bonn"),
        ("The capital of Germany is", "Berlin, of course", "Berlin"),
        ("Which book did Salinger write?", "The Catcher in the Rye.", "Catcher in the Rye"),
        ("Is Paris in France?", "Yes, Paris is in France.", "Yes"),
        ("What is 2 + 2?", "2 + 2 = 4", "4"),
    ],
)
def test_answer_is_found(prompt, text, expected):
    assert short_answer(prompt, text) == expected


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("In which year did the Titanic sink?", "The Titanic sank on 15 April 1912.", "1912"),
        ("In which year did the Titanic sink?", "The Titanic sank in April.", None),
        ("In which year after 1900 did the Titanic sink?", "After 1900 it sank in 1912.", "1912"),
        ("When was Albert Einstein born?", "Einstein was born on March 14, 1879, in Ulm.", "March 14, 1879"),
        ("When was Albert Einstein born?", "Albert Einstein was born in the year 1879 in Germany.", "1879"),
        ("When did World War II end?", "World War II ended in 1945.", "1945"),
        ("How many continents are there?", "The answer is 7. There are seven continents.", "7"),
        ("How many continents are there?", "There are seven continents in total.", "seven"),
        ("How tall is Mount Everest?", "Mount Everest is 8,848 metres tall.", "8,848 metres"),
        (
            "What is the boiling point of water in Celsius?",
            "The boiling point of water in Celsius is approximately 100.0 degrees Celsius.",
            "100.0 degrees",
        ),
        ("What is the phone number of Jo Li?", "The phone number of Jo Li is 555-0134.", "555-0134"),
        ("What is Jo Li's email?", "The email of Jo Li is jo.li@example.com.", "jo.li@example.com"),
    ],
)
def test_dates_and_numbers(prompt, text, expected):
    assert short_answer(prompt, text) == expected


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (CAPITAL, ""),
        (CAPITAL, "..."),
        (CAPITAL, "What is the capital of Germany?"),
        (CAPITAL, "I am not sure what the capital of Germany is."),
        (CAPITAL, "Germany is in Germany."),
        (GOLD, "The chemical symbol for gold is gold."),
        (PLANET, "The largest planet in the solar system is not a planet at all."),
        (CAPITAL, "The capital of Germany is one two three four five six seven eight nine."),
        (CAPITAL, "Many people have long wondered where the Germans of old kept their kings and queens."),
    ],
)
def test_no_answer_is_none(prompt, text):
    assert short_answer(prompt, text) is None


def test_an_answer_that_the_longest_text_may_have_cut_is_none() -> None:
    prompt = "Who painted the Ceiling of the Carracci Gallery?"
    assert short_answer(prompt, "The Ceiling of the Carracci Gallery was painted by Giovanni Batt") is None
    whole = "The Ceiling of the Carracci Gallery was painted by Giovanni Battista."
    assert short_answer(prompt, whole) == "Giovanni Battista"
    later = "The Ceiling of the Carracci Gallery was painted by Annibale Carra, who was born in Bologna and"
    assert short_answer(prompt, later) == "Annibale Carra"
    assert short_answer("What is the capital of Germany?", "The capital of Germany is Berlin") == "Berlin"
