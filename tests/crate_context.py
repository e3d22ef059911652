"""JSON-LD contexts for tests without a network: the terms of RO-Crate 1.1 that crates here may use.

Written after the published contexts (RO-Crate 1.1, workflow run terms); a term that is not in this list makes
the validator fail, as a mistyped one would.
"""

from __future__ import annotations

import json
from typing import Any

SCHEMA_ORG = (
    "CreateAction", "CreativeWork", "Dataset", "Organization", "Person", "PropertyValue",
    "SoftwareApplication", "about", "actionStatus", "affiliation", "agent", "alternateName", "author",
    "contentSize", "datePublished", "description", "encodingFormat", "endTime", "error", "hasPart",
    "identifier", "instrument", "license", "mentions", "name", "object", "publisher", "result",
    "softwareVersion", "startTime", "url", "value", "version",
)  # fmt: skip
RO_CRATE = {
    "@context": {
        **{term: f"http://schema.org/{term}" for term in SCHEMA_ORG},
        "File": "http://schema.org/MediaObject",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
    }
}
WORKFLOW_RUN = {
    "@context": {
        term: f"https://w3id.org/ro/terms/workflow-run#{term}" for term in ("sha256", "sha512", "md5")
    }
}
DOCUMENTS = {
    "https://w3id.org/ro/crate/1.1/context": RO_CRATE,
    "https://w3id.org/ro/terms/workflow-run/context": WORKFLOW_RUN,
}


class Answer:
    """What the validator's HTTP client returns for one of the documents above, and 504 for all else."""

    def __init__(self, address: str) -> None:
        found = DOCUMENTS.get(address)
        self.status_code = 504 if found is None else 200
        self.headers = {"Content-Type": "application/ld+json"}
        self.text = json.dumps(found or {})

    def json(self) -> Any:
        """Return the document."""
        return json.loads(self.text)
