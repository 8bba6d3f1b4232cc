"""To whom a secret may go: the very origin (scheme, host, port) that settings name, and nobody who looks like it."""

import httpx

from integrations.errors import Refused

PORTS = {"http": 80, "https": 443}


def origin(url: httpx.URL) -> str:
    """`scheme://host:port`, as it is connected to; a host is written in small letters and ASCII, the port always."""
    return f"{url.scheme}://{url.raw_host.decode('ascii').lower().rstrip('.')}:{url.port or PORTS.get(url.scheme)}"


def is_same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether both are the same server; an address with a user name in it is nobody's."""
    return not one.userinfo and not other.userinfo and origin(one) == origin(other)


def resolved(base: httpx.URL, link: object) -> httpx.URL:
    """The address that a server's link means. Raises Refused when it is none that may be fetched."""
    try:
        url = base.join(str(link)) if isinstance(link, str) and link.isascii() and link.isprintable() else None
        has_host = url is not None and bool(url.host)
    except (httpx.InvalidURL, ValueError):
        url, has_host = None, False
    if url is None or url.scheme not in PORTS or not has_host or url.userinfo or "\\" in str(link):
        raise Refused(
            "the server gives a link that is no plain address", where=origin(base), to_do="tell the server's keeper"
        )
    if base.scheme == "https" and url.scheme != "https":
        raise Refused("the server gives a link without encryption", where=origin(url), to_do="tell the server's keeper")
    return url
