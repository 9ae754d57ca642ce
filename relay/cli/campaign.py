"""``relay send --file``: one message to every row of a file, in batches, so that it can be stopped and continued.

Each row has an idempotency key made of what it says (``relay.cli.results``); where the client's keys must carry their
time, also of when it was first asked for. Whatever is lost on the way, the relay's answer or this process, is asked for
again with the same keys and brings no second SMS. Rows that were accepted are not asked for again; rows that were
refused are, because a refusal claims no key and its cause may be gone.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from relay.cli.api_connection import Reply, call, expect
from relay.cli.results import AskedRow, Message, Results, RowResult, name_rows
from relay.cli.sheets import Row
from relay.cli.terminal import CommandError, ExitStatus, counted, error_console, is_terminal, note

ROWS_AT_ONCE = 500
PATIENCE_SECONDS = 600.0
"""How long a relay that says "later", or nothing, is asked again without any progress."""
LONGEST_WAIT_SECONDS = 60.0
LINES_SHOWN = 10

OLD_SECONDS = 12 * 3600
"""After so long a relay may have forgotten a key (a day at the earliest, 7 by default): it is looked up first."""

_LATER = (429, 503)
_IN_PROGRESS = "idempotency_in_progress"
_KEY_REFUSED = "invalid_idempotency_key"


class Campaign:
    """The rows of a file, what has become of them, and how the rest is asked for.

    Args:
        fields: what every notification says beside number and text.
        again: whether rows may go to people who had a message of theirs before.

    Attributes:
        replayed: rows that the relay had accepted before, as it says now.

    Raises:
        CommandError: they would, and may not.
    """

    def __init__(
        self, rows: Sequence[Row], results: Results, fields: Mapping[str, Any], url: str, key: str, *, again: bool
    ) -> None:
        self._messages = name_rows(rows, results.campaign)
        self._results = results
        self._fields = fields
        self._url = url
        self._key = key
        self._again = again
        self._has_no_results = results.is_new
        self._doubtful = frozenset(results.in_doubt)
        self.replayed = 0
        self._last_code = "no answer"
        self._before = sum(message.key in results.accepted for message in self._messages)
        if not again:
            self._refuse_second_messages(rows)

    @property
    def accepted_before(self) -> int:
        """Rows that this run found accepted."""
        return self._before + self.replayed

    @property
    def refused(self) -> list[RowResult]:
        """The rows that were refused, in the order of the file."""
        return [self._results.refused[each.key] for each in self._messages if each.key in self._results.refused]

    @property
    def done(self) -> int:
        """Rows that have a result."""
        kept = self._results
        return sum(message.key in kept.accepted or message.key in kept.refused for message in self._messages)

    def _refuse_second_messages(self, rows: Sequence[Row]) -> None:
        otherwise = self._results.find_sent_otherwise(self._messages)
        elsewhere = self._results.find_sent_elsewhere(rows) - otherwise
        elsewhere -= {message.row.place for message in self._messages if message.key in self._results.accepted}
        reasons = []
        if otherwise:
            reasons.append(
                f"{counted(len(otherwise), 'row')} would bring a second message: this campaign had another text "
                f"accepted for the number ({write_lines([row.line for row in rows if row.place in otherwise])})"
            )
        if elsewhere:
            reasons.append(
                f"{counted(len(elsewhere), 'row')} would be sent again: accepted before in another campaign "
                f"({write_lines([row.line for row in rows if row.place in elsewhere])})"
            )
        if reasons:
            remedy = "Nothing was sent. If these people should get a second message, give --again"
            remedy += "; if this is a new message to everybody, name it: --campaign NAME." if otherwise else "."
            raise CommandError(f"{'; '.join(reasons)}.", remedy, ExitStatus.USAGE)

    def run(self) -> None:
        """Ask for every row that was not accepted yet.

        Raises:
            CommandError: the relay refuses the whole, or takes nothing more for a long time.
        """
        if repeated := len(self._messages) - len({message.person for message in self._messages}):
            what = f"{counted(repeated, 'row')} with a number that an earlier row has"
            note(f"[yellow]{what}[/]: each row is a message of its own")
        if self._before:
            note(f"accepted before, and not sent again: {self._before:,} of {counted(len(self._messages), 'row')}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=error_console, disable=not is_terminal()) as progress:
            task = progress.add_task("rows", total=len(self._messages), completed=self._before)
            self._look_up_old()
            for batch in _batches([each for each in self._messages if each.key not in self._results.accepted]):
                self._send(batch)
                progress.advance(task, len(batch))

    def _look_up_old(self) -> None:
        """Find what became of rows that were asked for long ago and have no result: by now a key may be new again."""
        old = time.time() - OLD_SECONDS
        for message in self._messages:
            asked = self._results.in_doubt.get(message.key)
            if asked is not None and asked.at < old and not self._again:
                self._look_up(message, f"idempotency_key={asked.idempotency_key(message.key)}")

    def _look_up(self, message: Message, by: str) -> None:
        for found in expect(call("GET", self._url, f"/v1/notifications?limit=1&{by}", self._key))["items"]:
            self._results.add([replace(self._name(message), id=found["id"], replayed=True)])
            self.replayed += 1

    def _name(self, message: Message) -> RowResult:
        row = message.row
        return RowResult(self._results.campaign, row.place, row.line, message.key, message.person)

    def _send(self, batch: Sequence[Message]) -> None:
        """Ask until every row of a batch has its result; rows are asked for again only with their own keys."""
        waiting, give_up = self._begin(batch, timed=self._results.timed), time.monotonic() + PATIENCE_SECONDS
        while waiting:
            reply = self._ask(waiting)
            found = self._read_items(waiting, reply)
            self._results.add(found)
            self.replayed += sum(result.replayed for result in found)
            settled = {result.key for result in found}
            refused = {result.key for result in found if result.problem == _KEY_REFUSED}
            again = [] if self._results.timed else [message for message in waiting if message.key in refused]
            waiting = [message for message in waiting if message.key not in settled]
            if again:  # nothing was claimed: they are asked for with keys of the other form
                note("the keys of this client carry their time, and so do those of the rows from now on")
                waiting += self._begin(again, timed=True)
            if found:
                give_up = time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() >= give_up:
                what = f"the relay takes nothing more for now ({self._last_code})."
                remedy = f"The same command continues: {self.done:,} of {counted(len(self._messages), 'row')} asked."
                raise CommandError(what, remedy, ExitStatus.UNREACHABLE)
            if waiting:
                time.sleep(min(max(reply.retry_after if reply is not None else 1.0, 0.5), LONGEST_WAIT_SECONDS))

    def _begin(self, batch: Sequence[Message], *, timed: bool) -> list[Message]:
        """Keep that rows are about to be asked for.

        Where keys carry their time, a row in doubt keeps its own; and what may have been accepted under a key that is
        not known here is looked up first.

        Returns:
            The rows that are to be asked for.
        """
        in_doubt = {} if self._again else self._results.in_doubt
        kept = {each.key for each in batch if timed and each.key in in_doubt and in_doubt[each.key].timed}
        for message in batch if timed and not self._again else ():
            if message.key in kept:
                continue
            if message.key in self._doubtful:
                self._look_up(message, f"idempotency_key={message.key}")
            elif self._has_no_results and "reference" not in self._fields:
                self._look_up(message, f"reference={message.key}")
        waiting = [message for message in batch if message.key not in self._results.accepted]
        if new := tuple(message.key for message in waiting if message.key not in kept):
            self._results.add([AskedRow(new, self._results.campaign, int(time.time()), timed)])
        return waiting

    def _request(self, message: Message) -> dict[str, Any]:
        """What a row is asked for with. By its reference it is found again where its key carries the time."""
        asked = self._results.in_doubt[message.key]
        own = {"recipients": [message.row.number], "message": message.row.message, **message.row.when}
        found_by = {"reference": message.key} if asked.timed else {}
        return {**found_by, **self._fields, **own, "idempotency_key": asked.idempotency_key(message.key)}

    def _ask(self, waiting: Sequence[Message]) -> Reply | None:
        """One request; ``None`` where no answer came: the keys make it safe to ask again."""
        body = [self._request(each) for each in waiting]
        try:
            reply = call("POST", self._url, "/v1/notifications/batch", self._key, json=body)
        except CommandError as failure:
            if failure.status in (ExitStatus.UNREACHABLE, ExitStatus.UNCLEAR):
                return None
            raise
        if not (isinstance(reply.body, dict) and "items" in reply.body):
            if reply.status not in _LATER:
                expect(reply)
            self._last_code = reply.body.get("code", "no answer") if isinstance(reply.body, dict) else "no answer"
        return reply

    def _read_items(self, waiting: Sequence[Message], reply: Reply | None) -> list[RowResult]:
        if reply is None or not isinstance(reply.body, dict) or "items" not in reply.body:
            return []
        results = []
        for item in reply.body["items"]:
            message, problem = waiting[item["index"]], item.get("problem")
            result = self._name(message)
            if problem is None:
                results.append(replace(result, id=item["id"], replayed=item.get("replayed", False)))
            elif problem["status"] in _LATER or problem["code"] == _IN_PROGRESS:
                self._last_code = problem["code"]
            else:
                results.append(replace(result, problem=problem["code"], **_reason(problem)))
        return results


def _reason(problem: Mapping[str, Any]) -> dict[str, str]:
    """Why a row was refused: its first field error, or else the problem's own words."""
    for error in problem.get("errors", ()):
        return {"reason": error["code"], "field": error["field"], "message": error["message"]}
    for hit in problem.get("hits", ()):
        return {"reason": hit["category"], "message": f"The list has “{hit['entry']}”."}
    return {"message": problem["detail"]} if problem.get("detail") else {}


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for begin in range(0, len(messages), ROWS_AT_ONCE):
        yield messages[begin : begin + ROWS_AT_ONCE]


def write_lines(lines: Sequence[int]) -> str:
    """Name lines of the file, so many that a person can look at them."""
    shown = ", ".join(map(str, lines[:LINES_SHOWN]))
    return f"line {shown}" if len(lines) == 1 else f"lines {shown}" + (", …" if len(lines) > LINES_SHOWN else "")
