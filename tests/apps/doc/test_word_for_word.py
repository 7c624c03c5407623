"""apps/doc/word_for_word.py: a value stands in a text only as whole words or as a number of its own."""

import pytest

from pocketseek.apps.doc.word_for_word import find_value


@pytest.mark.parametrize(
    ("text", "value", "at"),
    [
        ("the seller, Ann\n  Smith, sells", "Ann Smith", 12),
        ("ten tenants", "tenants", 4),
        ("租金850元", "850", 2),
        ("租金850元", 850, 2),
        ("出租人张三与", "张三", 3),
        ("(5) or", "5", 1),
        ("costs 5.", 5, 6),
        ("costs 3.5, then", 3.5, 6),
        ("costs 3.5, then", "3.5", 6),
        ("1,850 and 850", 850, 10),
        ("pays 3,500.00 francs", 3500, 5),
        ("pays 3’500 francs", 3500, 5),
        ("it was -5 degrees", -5, 7),
        ("pages 3-5", 5, 8),
        ("a tenant and ten more", "ten", 13),
        ("C++ and C", "C", 0),
        ("on 1.5.2026 and 2026", 2026, 16),
    ],
)
def test_a_value_is_found_where_it_stands(text: str, value: float | str, at: int) -> None:
    assert find_value(text, value) == at


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("in 1850", "850"),
        ("in 1850", 850),
        ("a tenant", "ten"),
        ("often", "ten"),
        ("costs 3.5", 5),
        ("costs 3.5", "5"),
        ("costs 3.5", 3),
        ("costs 3,5", "3"),
        ("costs 1,850", 850),
        ("costs 5,000", 5),
        ("it was -5 degrees", 5),
        ("it was 5 degrees", -5),
        ("on 1.5.2026", 2026),
        ("route A4", 4),
        ("size 4XL", 4),
        ("anything", ""),
        ("anything", " "),
        ("true", True),
        ("1", True),
        ("null", None),
        ("inf", float("inf")),
        ("3 500", 500 * 7),
    ],
)
def test_a_part_of_something_else_is_not_it(text: str, value: float | str | None) -> None:
    assert find_value(text, value) is None
