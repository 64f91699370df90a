"""Reads measured properties and structures from the data files of the `chemicals` wheel.

The wheel (MIT licence) is a zip archive; its tables are read as data. Each property takes a
compound's value from the first table that has it:

| property   | files under `chemicals/` (column)                       |
|------------|---------------------------------------------------------|
| Tm, K      | Misc/Physical Constants of Organic Compounds.csv (Tm)   |
|            | Phase Change/OpenNotebook Melting Points.tsv (Tm)       |
| Tb, K      | Misc/Physical Constants of Organic Compounds.csv (Tb)   |
|            | Phase Change/Yaws Boiling Points.tsv (Tb)               |
| logP       | Environment/Syrres logP data.csv.gz (logP)              |
|            | Environment/CRC logP table.tsv (logP)                   |
| rho, kg/m3 | Misc/Physical Constants of Organic Compounds.csv (rho)  |
| RI         | Misc/CRC Handbook Organic RI.csv (RI)                   |
|            | Misc/Physical Constants of Organic Compounds.csv (RI)   |

Structures (SMILES, column 5 by CAS number, column 2) come from the three
Identifiers/chemical identifiers {pubchem large,pubchem small,example user db}.tsv.
"""

import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd

_CRC = "chemicals/Misc/Physical Constants of Organic Compounds.csv"
_TABLES: dict[str, list[tuple[str, str]]] = {
    "Tm": [(_CRC, "Tm"), ("chemicals/Phase Change/OpenNotebook Melting Points.tsv", "Tm")],
    "Tb": [(_CRC, "Tb"), ("chemicals/Phase Change/Yaws Boiling Points.tsv", "Tb")],
    "logP": [
        ("chemicals/Environment/Syrres logP data.csv.gz", "logP"),
        ("chemicals/Environment/CRC logP table.tsv", "logP"),
    ],
    "rho": [(_CRC, "rho")],
    "RI": [("chemicals/Misc/CRC Handbook Organic RI.csv", "RI"), (_CRC, "RI")],
}
_IDENTIFIERS = [
    f"chemicals/Identifiers/chemical identifiers {name}.tsv"
    for name in ("pubchem large", "pubchem small", "example user db")
]


def read_compounds(wheel: Path) -> pd.DataFrame:
    """One row per CAS number that has a structure and at least one property.

    Columns: smiles (str) and the PROPERTIES (float64, NaN where unmeasured).
    """
    with zipfile.ZipFile(wheel) as archive:
        structures = _read_structures(archive)
        columns = {name: _read_property(archive, places) for name, places in _TABLES.items()}
    # In the structures' order, so that nothing depends on how an outer join sorts.
    return structures.to_frame().join(pd.DataFrame(columns), how="inner")


def _read_structures(archive: zipfile.ZipFile) -> pd.Series:
    """SMILES by CAS number. Lines have as many fields as a compound has names: no table reader."""
    smiles: dict[str, str] = {}
    for path in _IDENTIFIERS:
        with archive.open(path) as file:
            for line in io.TextIOWrapper(file, encoding="utf-8", newline="\n"):
                _, cas, _, _, structure, _ = line.split("\t", 5)
                smiles.setdefault(cas, structure)
    return pd.Series(smiles, name="smiles", dtype=object)


def _read_property(archive: zipfile.ZipFile, places: list[tuple[str, str]]) -> pd.Series:
    """Values by CAS number; an earlier place wins."""
    values: dict[str, float] = {}
    for path, column in places:
        content = archive.read(path)
        if path.endswith(".gz"):
            content = gzip.decompress(content)
        # All of them are tab-separated, whatever their names say.
        table = pd.read_csv(io.BytesIO(content), sep="\t", dtype={"CAS": str, column: float})
        for cas, value in table[["CAS", column]].dropna().itertuples(index=False):
            values.setdefault(cas, value)
    return pd.Series(values, dtype=float)
