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

from relay.settings.account_sections import AccountSettings, SmscloneSettings
from relay.settings.client_sections import ClientSettings, KeySettings, ReceiverSettings, SignatureScheme
from relay.settings.describe import SettingDescription, describe_settings
from relay.settings.load import (
    SettingsError,
    describe_file,
    find_file,
    find_warnings,
    load_settings,
    reload_settings,
    require_credentials,
    watched_files,
)
from relay.settings.sections import (
    BreakerSettings,
    CallbacksSettings,
    JournalSettings,
    KubernetesSettings,
    ListenSettings,
    LogLevel,
    SendingSettings,
    Settings,
)

__all__ = [
    "AccountSettings",
    "BreakerSettings",
    "CallbacksSettings",
    "ClientSettings",
    "JournalSettings",
    "KeySettings",
    "KubernetesSettings",
    "ListenSettings",
    "LogLevel",
    "ReceiverSettings",
    "SendingSettings",
    "SettingDescription",
    "Settings",
    "SettingsError",
    "SignatureScheme",
    "SmscloneSettings",
    "describe_file",
    "describe_settings",
    "find_file",
    "find_warnings",
    "load_settings",
    "reload_settings",
    "require_credentials",
    "watched_files",
]
