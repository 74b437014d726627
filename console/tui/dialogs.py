"""Modal dialogs: confirm (default Cancel), ask, pick. They return an answer and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Input

from backend.contract.control import ActionPreview
from backend.contract.words import Verb
from console.render.drill_list import plan_sentence
from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, fit_line, fit_text
from console.render.spans import on as on_surface
from console.state.fuzzy import fuzzy_score
from console.tui.canvas import Canvas

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


DRILL_UNDO = "A drill undoes its own faults, whoever leaves; X stops it at once."
CHROME = 4
"""Border, a prompt and a line of choices."""


class Words(Canvas):
    """Lines in a dialog, as tall as they are."""

    DEFAULT_CSS = "Words { height: auto; background: $panel; }"
    surface = "panel"

    def __init__(self, write: Callable[[int], Sequence[Line]], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.write = write

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return min(len(self.write(width)), max(1, self.app.size.height - CHROME))

    def paint(self, width: int, height: int) -> Sequence[Line]:
        return squeezed(self.write(width), width, height)


def squeezed(lines: Sequence[Line], width: int, height: int) -> Sequence[Line]:
    """On a low terminal the blank lines go first, then the end, marked as cut."""
    if len(lines) <= height:
        return lines
    told = [line for line in lines if any(text.strip() for text, _ in line)]
    if len(told) <= height:
        return told
    return [*told[: height - 1], fit_line((("… more than fits here", "warn"),), width)]


class Prompt(Input):
    """A one-line input that does not blink."""

    def __init__(self, value: str = "", placeholder: str = "") -> None:
        super().__init__(value, placeholder=placeholder, compact=True, select_on_focus=True)
        self.cursor_blink = False


def confirm_lines(previews: Sequence[ActionPreview], width: int, together: Sequence[str] = ()) -> list[Line]:
    """What would be done, to whom, with which effects, what all of it does `together`, and how to undo it. Pure."""
    first = previews[0]
    many = len(previews) > 1
    head = f"{first.verb} {len(previews)} targets" if many else f"{first.verb} {first.target}".strip()
    lines: list[Line] = [fit_line(((head, "accent b"),), width), fit_line(EMPTY, width)]
    for words in together:
        lines += wrapped(words, width, "warn b")
    if together:
        lines.append(fit_line(EMPTY, width))
    for preview in previews:
        if preview.allowed:
            lines += wrapped(preview.summary, width, "text b" if not many else "text")
        else:
            lines += wrapped(f"⊘ left out: {preview.refusal or preview.summary}", width, "warn")
    effects = list(dict.fromkeys(effect for preview in previews if preview.allowed for effect in preview.effects))
    if first.verb == Verb.DRILL_RUN:
        plan = [line for sentence in first.effects for line in plan_sentence(sentence, width)]
        return [*lines, fit_line(EMPTY, width), *plan, fit_line(EMPTY, width), *wrapped(DRILL_UNDO, width, "muted")]
    if effects:
        lines.append(fit_line(EMPTY, width))
    for effect in effects:
        parts = wrapped(effect, width - 2, "text")
        lines += [fit_line((("• " if at == 0 else "  ", "muted"), *line), width) for at, line in enumerate(parts)]
    undos = dict.fromkeys(preview.undo for preview in previews if preview.undo)
    lines.append(fit_line(EMPTY, width))
    if undos:
        lines += wrapped(f"Undo: {'; '.join(undos)} (u)", width, "muted")
    else:
        lines += wrapped("There is no undo for this.", width, "muted")
    lines.append(fit_line(EMPTY, width))
    return lines


class ConfirmDialog(ModalScreen[bool | None]):
    """Cancel is chosen until you choose otherwise; a high risk wants `typed` to be typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "answer(False)", "cancel", show=False),
        Binding("n", "answer(False)", "cancel", show=False),
        Binding("y", "yes", "do it", show=False),
        Binding("left,right,tab,shift+tab,h", "switch", "choose", show=False),
        Binding("enter", "enter", "take the choice", show=False),
        Binding("X", "panic", "stop all drills", show=False),
    ]

    def __init__(self, previews: Sequence[ActionPreview], typed: str = "", together: Sequence[str] = ()) -> None:
        super().__init__(classes="dialog")
        self.together = together
        self.previews = previews
        self.typed = typed
        self.yes = False

    def compose(self) -> ComposeResult:
        with Container(classes="box danger" if self.typed else "box"):
            yield Words(lambda width: confirm_lines(self.previews, width, self.together), id="confirm-text")
            if self.typed:
                yield Prompt(placeholder=f"type {self.typed} to confirm")
            yield Words(self._choices, id="confirm-choices")

    def _choices(self, width: int) -> list[Line]:
        go = bool(self.yes or self._typed_right())
        verb = str(self.previews[0].verb)
        buttons: Line = (
            (" Cancel ", "text" if go else "text b r"),
            ("   ", "text"),
            (f" {verb} ", "error b r" if go else "faint" if self.typed else "text"),
        )
        hint = "enter" if go and self.typed else "esc" if self.typed else "y / n / esc"
        return [fit_line((*buttons, (f"   {hint}", "faint")), width)]

    def _typed_right(self) -> bool:
        return bool(self.typed) and self.query_one(Prompt).value.strip() == self.typed

    @on(Input.Changed)
    def typed_more(self) -> None:
        self.query_one("#confirm-choices", Words).sync()

    @on(Input.Submitted)
    def typed_enter(self) -> None:
        if self._typed_right():
            self.dismiss(True)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_panic(self) -> None:
        """`X` is there in every moment: nothing of this is done, and drills stop."""
        self.dismiss(None)
        cast("TrinityApp", self.app).verbs.panic()

    def action_yes(self) -> None:
        if not self.typed:
            self.dismiss(True)

    def action_switch(self) -> None:
        self.yes = not self.yes
        self.query_one("#confirm-choices", Words).sync()

    def action_enter(self) -> None:
        if not self.typed:
            self.dismiss(self.yes)


class AskDialog(ModalScreen[str | None]):
    """One question, one line. `check` returns what is wrong with an answer, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "cancel", "cancel", show=False)]

    def __init__(self, question: str, initial: str, check: Callable[[str], str]) -> None:
        super().__init__(classes="dialog")
        self.question, self.initial, self.check = question, initial, check
        self.problem = ""

    def compose(self) -> ComposeResult:
        with Container(classes="box"):
            yield Words(lambda width: [fit_line(((self.question, "accent b"),), width), fit_line(EMPTY, width)])
            yield Prompt(self.initial)
            yield Words(self._foot, id="ask-foot")

    def _foot(self, width: int) -> list[Line]:
        hint: Line = (("enter", "accent"), (" goes on   ", "muted"), ("esc", "accent"), (" cancels", "muted"))
        return [fit_line(EMPTY, width), fit_line(((self.problem, "error"),) if self.problem else hint, width)]

    @on(Input.Changed)
    def changed(self) -> None:
        self.problem = ""
        self.query_one("#ask-foot", Words).sync()

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        answer = event.value.strip()
        self.problem = self.check(answer)
        if self.problem:
            self.query_one("#ask-foot", Words).sync()
        else:
            self.dismiss(answer)

    def action_cancel(self) -> None:
        self.dismiss(None)


def _tone(choice: Choice, *, chosen: bool) -> str:
    return "faint" if choice.barred else "text b" if chosen else "text"


async def ask(app: App[Any], dialog: ModalScreen[str | None], then: Callable[[str | None], None]) -> None:
    """Show a question that has the keys when this returns: what was typed ahead of it is its answer's beginning, and
    nothing else's."""
    await app.push_screen(dialog, then)
    dialog.set_focus(dialog.query_one(Prompt))


class Choice(msgspec.Struct, frozen=True):
    """Something to pick: what it returns, its name, a few words, and lines shown while it is under the cursor."""

    key: str
    label: str
    hint: str = ""
    plan: tuple[str, ...] = ()
    barred: str = ""
    """Why it cannot be done here; whoever takes it all the same is told."""


class PickDialog(ModalScreen[str | None]):
    """Type to narrow, arrows to choose, enter to take. The palette and the drill list are this."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "cancel", "cancel", show=False),
        Binding("down,ctrl+n", "move(1)", "next", show=False, priority=True),
        Binding("up,ctrl+p", "move(-1)", "before", show=False, priority=True),
        Binding("tab", "complete", "complete", show=False, priority=True),
    ]

    def __init__(self, heading: str, choices: Sequence[Choice]) -> None:
        super().__init__(classes="dialog")
        self.heading, self.choices = heading, list(choices)
        self.shown = list(choices)
        self.at = 0
        self._label_size = max((len(choice.label) for choice in choices), default=8)
        self._longest_plan = max((len(choice.plan) for choice in choices), default=0)

    @property
    def trinity(self) -> TrinityApp:
        return cast("TrinityApp", self.app)

    def compose(self) -> ComposeResult:
        with Container(classes="box"):
            yield Words(lambda width: [fit_line(((self.heading, "accent b"),), width)])
            yield Prompt(placeholder="type to narrow")
            yield Words(self._lines, id="pick-lines")

    def _rows(self) -> int:
        return max(1, min(12, len(self.choices), self.app.size.height - 6 - self._plan_rows()))

    def _plan_rows(self) -> int:
        longest = self._longest_plan
        return min(2 * longest + 1 if longest else 0, max(0, self.app.size.height - 10))

    def _lines(self, width: int) -> list[Line]:
        """Always the same number of lines, so that the box stands still while you type."""
        rows = self._rows()
        top = max(0, min(self.at - rows // 2, len(self.shown) - rows))
        label_width = min(self._label_size + 2, width * 2 // 3)
        lines: list[Line] = []
        for index, choice in enumerate(self.shown[top : top + rows], top):
            words = fit_line(
                (
                    ("▸ " if index == self.at else "  ", "accent b"),
                    (fit_text(choice.label, label_width), _tone(choice, chosen=index == self.at)),
                    (f"⊘ {choice.barred}", "faint") if choice.barred else (choice.hint, "muted"),
                ),
                width,
            )
            lines.append(on_surface(words, "on-cursor") if index == self.at else words)
        if not self.shown:
            lines.append(fit_line((("nothing matches", "faint"),), width))
        lines += [fit_line(EMPTY, width)] * (rows - len(lines))
        plan: list[Line] = []
        if self.shown and self.shown[self.at].plan:
            plan.append(fit_line(EMPTY, width))
            for sentence in self.shown[self.at].plan:
                plan += wrapped(sentence, width, "warn" if sentence.startswith("Refused") else "muted")
        room = self._plan_rows()
        return lines + plan[:room] + [fit_line(EMPTY, width)] * (room - len(plan))

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        scored = [(fuzzy_score(event.value, f"{c.label} {c.hint}"), at, c) for at, c in enumerate(self.choices)]
        kept = sorted(((-score, at, c) for score, at, c in scored if score is not None), key=lambda item: item[:2])
        self.shown = [choice for _, _, choice in kept]
        self.at = 0
        self.query_one("#pick-lines", Words).sync()

    @on(Input.Submitted)
    def submitted(self) -> None:
        if self.shown:
            self.dismiss(self.shown[self.at].key)

    def action_move(self, delta: int) -> None:
        if self.shown:
            self.at = (self.at + delta) % len(self.shown)
            self.query_one("#pick-lines", Words).sync()

    def action_complete(self) -> None:
        if self.shown:
            prompt = self.query_one(Prompt)
            prompt.value = self.shown[self.at].label
            prompt.cursor_position = len(prompt.value)

    def action_cancel(self) -> None:
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss(None)
