"""What a receiver would make of an alert, without a relay that runs."""

import os
import time
from pathlib import Path

from relay.cli.terminal import CommandError, ExitStatus
from relay.settings import SettingsError, load_settings
from relay.webhooks.alerts import AlertBodyError
from relay.webhooks.preview import render_preview
from relay.webhooks.receivers import make_receivers


def preview_alerts(body: Path, receiver: str | None) -> str:
    """Write the SMS of a webhook's body.

    Raises:
        CommandError: settings, receiver or body cannot be used.
    """
    try:
        receivers = make_receivers(load_settings(os.environ).receivers)
    except SettingsError:
        raise CommandError("the settings are wrong.", "See: relay check-config", ExitStatus.USAGE) from None
    if receiver is None or receiver not in receivers:
        known = ", ".join(sorted(receivers)) or "none"
        raise CommandError("no such receiver.", f"Give --receiver; the settings have: {known}.", ExitStatus.USAGE)
    try:
        return render_preview(receivers[receiver], body.read_bytes(), time.time_ns() // 1_000_000)
    except OSError:
        raise CommandError("the file cannot be read.", "Check --alertmanager.", ExitStatus.USAGE) from None
    except AlertBodyError as failure:
        raise CommandError(failure.detail, "Save a body as Alertmanager sends it.", ExitStatus.REFUSED) from None
