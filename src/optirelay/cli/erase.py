"""`optirelay erase`: a person is forgotten."""

from typing import Annotated, Any

import typer

from optirelay.cli._basics import AsJson, Config, say
from optirelay.cli._shared import Tenant, print_json, run, settings_of, the_tenant
from optirelay.engine import operate

WORDS = {
    "messages": ("message to them", "messages to them"),
    "contacts": ("entry of the directory", "entries of the directory"),
    "opt_ins": ("channel that they spoke of", "channels that they spoke of"),
    "suppressions": ("suppression, now a keyed hash", "suppressions, now keyed hashes"),
    "notifications": ("notification of Optimove", "notifications of Optimove"),
    "callbacks": ("callback of a provider", "callbacks of providers"),
    "attribute_results": ("answer of Optimove about opt-ins", "answers of Optimove about opt-ins"),
    "reports": ("call to Optimove", "calls to Optimove"),
    "texts": ("text of a problem, an answer or a decision", "texts of problems, answers or decisions"),
    "files": ("opt-in batch file", "opt-in batch files"),
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(erase)


def erase(
    ctx: typer.Context,
    customer: Annotated[str, typer.Argument(help="Optimove's id of the customer.")],
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Forget a customer: whatever is kept of them goes, and nothing is sent to them any more."""
    settings = settings_of(ctx, config)
    name = the_tenant(settings, tenant)
    done = run(settings, lambda c: operate.erase(c, name, customer))
    if as_json:
        print_json(_shape(done))
        return
    for word in operate.ERASED_COUNTS:
        if count := getattr(done, word):
            say(f"Erased: {count} {WORDS[word][count > 1]}{_more(done) if word == 'messages' else ''}.")
    if not done.things:
        say("Nothing was left to erase." if done.before else "Nothing of this customer was found.")
    say(f"What comes of them later is skipped; {done.customer_id} stands for them.")
    for sentence in done.left:
        say(f"Left: {sentence}.")


def _more(done: operate.Erased) -> str:
    where = f" in {done.campaigns} campaign{'s' * (done.campaigns > 1)}"
    return f"{where}; {done.skipped} of them had not begun and will not be sent" if done.skipped else where


def _shape(done: operate.Erased) -> dict[str, Any]:
    counts = {word: getattr(done, word) for word in ("campaigns", "skipped", "sending", *operate.ERASED_COUNTS)}
    return {
        "tenant": done.tenant,
        "customer_id": done.customer_id,
        "erased_before": done.before,
        **counts,
        "left": done.left,
    }
