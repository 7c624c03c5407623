"""apps/doc/second_look.py: what passages tell about each other changes their order, never their coverage."""

from pocketseek.apps.doc.rank import Wanted, Words, rank
from pocketseek.apps.doc.second_look import Seen, second_look
from pocketseek.apps.doc.terms import wanted_terms


def looked_at(question: str, texts: list[str]) -> dict[str, float]:
    """Text -> new score; in the order in which a search gives them. An empty text parts neighbours."""
    wanted = Wanted(dict.fromkeys(wanted_terms(question), 1.0), mean_terms=8.0)
    seen = []
    for number, text in enumerate(texts):
        words = Words.of([], text)
        seen.append(Seen((1, number), words, rank(wanted, words)))
    seen = sorted((one for one in seen if one.words.body), key=lambda one: -one.rank.score)
    ranks = second_look(wanted, seen)
    assert [new.coverage for new in ranks] == [one.rank.coverage for one in seen]
    return {texts[one.place[1]]: new.score for one, new in zip(seen, ranks, strict=True)}


FILLER = [text for number in range(6) for text in (f"plum something else {number} of no use here", "")]


def test_a_passage_beside_a_good_one_rises() -> None:
    beside, alone = "plum trees of the village", "plum trees of the town"
    scores = looked_at("plum root", ["plum root", beside, "", *FILLER, "", alone])
    assert scores[beside] > scores[alone]


def test_a_chinese_character_of_another_word_counts_a_little() -> None:
    asked, like, unlike = "网络配置方法说明", "网络设置内容介绍", "网络安全内容介绍"
    scores = looked_at("网络配置", [asked, "", like, "", unlike])
    assert scores[asked] > scores[like] > scores[unlike]


def test_nothing_found_is_nothing_seen() -> None:
    assert second_look(Wanted({"plum": 1.0}, mean_terms=8.0), []) == []
