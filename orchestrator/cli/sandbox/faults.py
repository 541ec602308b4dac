"""The commands that make something go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.formatting import examples
from orchestrator.cli.sandbox.common import AsJson, Control, as_text, print_json, print_table
from orchestrator.sandbox.client import DEFAULT_CONTROL, SandboxClient

if TYPE_CHECKING:
    from orchestrator.sandbox.server.faults import Param

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator sandbox fault stream-error --target +4915100001 code=503",
        "orchestrator sandbox fault failure --target +4915100001 --times 3 reason=403",
        "orchestrator sandbox fault refuse --seconds 30",
        "orchestrator sandbox fault send-error --target +4915100001 --endless code=463 to=new ends=3600",
        "orchestrator sandbox fault lost-ack --target +4915100001 --times 2 to=+4915100002 delivered=no",
    )
)
def fault(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="Kind of fault; 'kinds' lists the kinds.", show_default=False),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Parameter of the kind of fault.", show_default=False),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="T",
            help="Who is affected: all, pairing, +NUMBER, +NUMBER:DEVICE, connection:N or proxy:USER.",
        ),
    ] = "all",
    times: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Number of connections to strike; by default one, or no limit with --seconds."
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Seconds for which the fault waits or lasts; by default until used up."
        ),
    ] = None,
    endless: Annotated[
        bool, typer.Option("--endless", help="The fault strikes until it is cleared.", show_default=False)
    ] = False,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Make something go wrong, now or for the next clients.

    The command 'kinds' lists the kinds of faults and their parameters.
    """
    from orchestrator.sandbox.server.faults import KINDS, FaultBook, FaultError

    known = KINDS[kind].params if kind in KINDS else {}
    if endless and (times is not None or seconds is not None):
        raise typer.BadParameter("--endless takes neither --times nor --seconds")
    limits = {"times": times, "seconds": seconds}
    params: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals or name in ("kind", "target", "times", "seconds", *params):
            raise typer.BadParameter(f"{setting!r}: write each parameter of {kind} once, as NAME=VALUE")
        params[name] = _value(value, known.get(name))
    try:
        FaultBook(lambda: 0).make(
            {"kind": kind, "target": target, **params, **({"times": None} if endless else {})}
        )
    except FaultError as error:
        raise typer.BadParameter(str(error)) from None
    made = SandboxClient(control).fault(kind, target, endless=endless, **params)
    print(f"fault {made['id']}: {kind} for {made['target']}, struck {made['struck']} so far")


@app.command(epilog=examples("orchestrator sandbox faults", "orchestrator sandbox faults --json"))
def faults(
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """List the faults that wait for a client or still last."""
    found = SandboxClient(control).faults()
    if as_json:
        print_json(found)
        return
    columns = ("id", "kind", "target", "times", "seconds_left", "struck")
    rows = []
    for one in found:
        params = {key: value for key, value in one.items() if key not in columns and value is not None}
        settings = " ".join(f"{key}={as_text(value)}" for key, value in params.items())
        rows.append([*(one[column] for column in columns), settings])
    print_table(("id", "kind", "for", "times", "seconds left", "struck", "parameters"), rows)


@app.command(epilog=examples("orchestrator sandbox clear", "orchestrator sandbox clear 3"))
def clear(
    id: Annotated[  # noqa: A002 - the name that the help shows
        int | None, typer.Argument(metavar="ID", min=1, help="Number of the fault; by default all faults.")
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Clear a fault, or all faults."""
    gone = SandboxClient(control).clear_faults(id)
    print(f"cleared: {', '.join(str(one['id']) for one in gone) or 'none'}")


@app.command(epilog=examples("orchestrator sandbox kinds"))
def kinds() -> None:
    """List the kinds of faults.

    A fault of 'now' strikes the matching open connections at once. Other faults wait: 'connect' for the next
    connection, 'identified' for the next client that has identified itself, 'pairing' for the next client
    that wants to be linked, 'sent' for the next message of a phone, 'upload' for the next attachment of a
    client.
    """
    from orchestrator.sandbox.server.faults import KINDS

    rows = []
    for name, kind in KINDS.items():
        told = "\n".join(_param_line(key, param) for key, param in kind.params.items())
        when = f"{kind.when}, lasting" if kind.lasting else kind.when
        rows.append([name, when, told, kind.about])
    print_table(("kind", "when", "parameters", "what happens"), rows)


def _value(text: str, param: Param | None) -> float | str:
    """Return a value of the parameter's type; any other text stays a text, which the check refuses."""
    kind = param.type if param else str
    if kind is bool:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    try:
        value: float | str = kind(text)
    except ValueError:
        return text
    return value


def _param_line(name: str, param: Param) -> str:
    if param.choices:
        values = " or ".join(param.choices)
    elif param.low is not None and param.high is not None:
        values = f"{param.low:.0f} to {param.high:.0f}"
    elif param.form:
        values = param.form[1]
    else:
        values = {bool: "true or false", str: "text"}.get(param.type, "number")
    default = "" if param.default is None else f", by default {as_text(param.default)}"
    return f"{name}={values}{', required' if param.required else default}"
