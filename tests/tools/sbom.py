"""``make sbom``: what the image holds beside Python and Debian, as a CycloneDX document on standard output.

Every pin of the requirements, with its licence and what it needs, read from the packages that are installed here. The
serial number follows from the content, and the time from ``SOURCE_DATE_EPOCH`` where it is set: the same pins can give
the same document.
"""

import os
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

import relay

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)


def read_pins(*names: str) -> dict[str, str]:
    """Name → version of every pin of these requirements files, names as in a package URL."""
    return {
        _normalize(name): version.rstrip(";")
        for file in names
        for name, version in _PIN.findall((ROOT / file).read_text())
    }


def make_bom(*names: str) -> Bom:
    """Describe the relay and everything that these requirements files pin."""
    pins = read_pins(*names)
    components = {name: _describe(name, version) for name, version in pins.items()}
    main = Component(name="relay", version=relay.__version__, type=ComponentType.APPLICATION, bom_ref="relay")
    bom = Bom(components=components.values())
    bom.metadata.component = main
    bom.register_dependency(main, [components[name] for name in _needs("relay") if name in components])
    for name, component in components.items():
        bom.register_dependency(component, [components[each] for each in _needs(name) if each in components])
    bom.metadata.timestamp = datetime.fromtimestamp(float(os.environ.get("SOURCE_DATE_EPOCH", time.time())), UTC)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, repr(sorted(pins.items())) + relay.__version__)
    return bom


def _describe(name: str, version: str) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    found = _find(name)
    licences = [DisjunctiveLicense(name=licence) for licence in _licences(found)] if found is not None else []
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=licences)


def _licences(found: Distribution) -> list[str]:
    metadata = found.metadata.json
    if "license_expression" in metadata:
        return [str(metadata["license_expression"])]
    classified = [each.rpartition(" :: ")[2] for each in metadata.get("classifier", ()) if "License ::" in each]
    return classified or str(metadata.get("license", "")).splitlines()[:1]


def _needs(name: str) -> list[str]:
    found = _find(name)
    parsed = [Requirement(each) for each in (found.requires if found is not None else None) or ()]
    return sorted(
        {_normalize(each.name) for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})}
    )


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:  # for another platform
        return None


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print(JsonV1Dot6(make_bom("requirements.txt", *sys.argv[1:])).output_as_string(indent=2))
