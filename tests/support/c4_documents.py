"""Made-up wheels with descriptions of services, as `c4_small` reads them."""

import gzip
import json
import zipfile

from workloads_overrides.small.c4.splits import split_of


def service(documentation):
    """A service's description: strings under `documentation` at every depth, and others."""
    first, *others = documentation
    return {
        "documentation": first,
        "metadata": {"apiVersion": "no text of a document at all, however long it may be here"},
        "operations": [{"name": "X", "documentation": text} for text in others[:1]],
        "shapes": {
            f"S{i}": {"members": {"documentation": {"documentation": text}}}
            for i, text in enumerate(others[1:])
        },
    }


def write_wheel(path, services):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("botocore/data/endpoints.json", "{}")
        for name, documentation in services.items():
            content = gzip.compress(json.dumps(service(documentation)).encode())
            archive.writestr(f"botocore/data/{name}/2020-01-01/service-2.json.gz", content)
            archive.writestr(f"botocore/data/{name}/2020-01-01/paginators-1.json", "{}")
    return path


def sentence(*numbers):
    """At least 80 characters of eight words or more."""
    names = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india"]
    return " ".join(names[n] + "xyzzy" for n in numbers)


def services_of(split):
    return (name for i in range(10**6) if split_of(name := f"service-{i}") == split)
