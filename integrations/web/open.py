"""Open the connection to an endpoint, with all that goes with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from integrations.records import Records
from integrations.web.ask import Server
from integrations.web.breaker import Breaker
from integrations.web.endpoint import Endpoint, open_client, safe_address
from integrations.web.patience import Patience
from integrations.web.smart import Tokens, load_key


@contextmanager
def open_server(
    endpoint: Endpoint,
    *,
    own_key: Path,
    records: Records,
    clock: Callable[[], datetime],
    patience: Patience | None = None,
) -> Iterator[Server]:
    """Open an endpoint until the end of the block. `own_key`: where our private key lies if settings name none.

    Raises EnvironmentFault when a key or certificate cannot be read.
    """
    base = safe_address(endpoint.base_url, has_secret=endpoint.has_secret)
    make_tokens = partial(Tokens, endpoint, load_key(endpoint, own_key)) if endpoint.client_id else None
    breaker_of = partial(Breaker.of, records=records, clock=clock)
    with open_client(endpoint) as client:
        yield Server(
            client,
            base,
            make_tokens=make_tokens,
            authorization=endpoint.authorization,
            breaker_of=breaker_of,
            patience=patience,
        )
