"""Every setting: name, type, unit, default, range, meaning, and all mistakes at once.

Owns what may stand in the file and in the environment. It must never repeat a value in an error: a secret may stand in
the wrong place.

**Decisions**

- A document is checked field by field along msgspec's type information, and only then built: msgspec itself stops at
  the first error and repeats names and values in its text (``tests/unit/settings/test_load.py``).
- A setting that a variable cannot name (lists) is an error when a variable tries, not silence.
- Variables of the form that Kubernetes injects for any Service named ``relay`` or ``relay-…`` are ignored; a mistyped
  one has another form (``test_environment.py``).
"""

from relay.settings.clients import ClientSettings, KeySettings, ReceiverSettings
from relay.settings.describe import SettingDescription, describe_settings
from relay.settings.errors import SettingError, SettingsError
from relay.settings.load import load_settings, reload_settings, require_credentials
from relay.settings.policies import client_policies, list_secrets, quiet_windows, route_table, send_limits
from relay.settings.sections import (
    BreakerSettings,
    CallbacksSettings,
    JournalSettings,
    KubernetesSettings,
    ListenSettings,
    LogLevel,
    SendingSettings,
    SendLimit,
    Settings,
    SmscloneSettings,
)

__all__ = [
    "BreakerSettings",
    "CallbacksSettings",
    "ClientSettings",
    "JournalSettings",
    "KeySettings",
    "KubernetesSettings",
    "ListenSettings",
    "LogLevel",
    "ReceiverSettings",
    "SendLimit",
    "SendingSettings",
    "SettingDescription",
    "SettingError",
    "Settings",
    "SettingsError",
    "SmscloneSettings",
    "client_policies",
    "describe_settings",
    "list_secrets",
    "load_settings",
    "quiet_windows",
    "reload_settings",
    "require_credentials",
    "route_table",
    "send_limits",
]
