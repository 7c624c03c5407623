"""A chat template's syntax tree, rewritten so that everything that repeats, copies or compares is charged.

Expressions pass through filters named EACH, SHALLOW and DEEP, which the environment provides. Their names begin with a
space, so no template can write, replace or avoid them.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from pocketseek.text.template_meter import LimitError

EACH, SHALLOW, DEEP = " each", " shallow", " deep"

MAX_SOURCE_NESTING = 120
MAX_ELIFS = 200


class GenerationTag(Extension):
    """{% generation %}...{% endgeneration %} marks what a model wrote, for training; here it is only its contents."""

    tags = {"generation"}  # noqa: RUF012 (declared so by Jinja2)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_nesting(tree: nodes.Node) -> None:
    """Raises LimitError for a tree so deep that compiling it would overflow a stack."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_SOURCE_NESTING or (isinstance(node, nodes.If) and len(node.elif_) > MAX_ELIFS):
            raise LimitError("it is nested too deeply")
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


class Metering(NodeTransformer):
    """Wraps expressions; `Metering().visit(tree)` changes the tree in place and returns it."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 (the visitor's naming)
        self.generic_visit(node)
        node.iter = _through(EACH, node.iter)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [_through(DEEP, part) for part in node.nodes]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Concat:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [_through(DEEP, part) for part in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through(DEEP, node.expr)
        for operand in node.ops:
            operand.expr = _through(DEEP, operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through(SHALLOW, node.node)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(DEEP, node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(DEEP, node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through(DEEP, node) if node.ctx == "load" else node


def _through(filter_name: str, expression: nodes.Node) -> nodes.Filter:
    return nodes.Filter(expression, filter_name, [], [], None, None, lineno=expression.lineno)
