"""Application packages: from the bytes of a CWL document to a process description, with everything hostile refused on
the way.

The service sees `parse_deploy_body` and `PackageReader`. The rest runs in children of a warm process (`nursery.py`):
the gate (`document.py`), the rules (`policy.py`, `lint.py`), the choice of a workflow (`choice.py`), the CWL library
(`validation.py`) and the mapping (`cwl_types.py`, `description.py`).
"""

from services.submission.packages.deployment import PACKAGE_ACCEPT, Deployment, parse_deploy_body
from services.submission.packages.reader import Package, PackageReader

__all__ = ["PACKAGE_ACCEPT", "Deployment", "Package", "PackageReader", "parse_deploy_body"]
