"""Tells which site's page sent a request: ours, one that the settings name, or another."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from core.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def allowed_origins(settings: Settings) -> list[str]:
    """Return the other sites that may call this one, as `https://host`."""
    return [
        each.strip().rstrip("/") for each in settings.allowed_origins.split(",") if each.strip()
    ]


def known_hosts(settings: Settings) -> list[str]:
    """
    Return the names by which this site may be reached; none means any.

    A page that listens on loopback only is not reached by other names, unless somebody else's
    name is made to point there: then that page would be of one origin with ours.
    """
    given = [each.strip().lower() for each in settings.hosts.split(",") if each.strip()]
    if given or settings.trusted_proxies or settings.web_host not in LOOPBACK:
        return given
    return list(LOOPBACK)


def is_known_host(request: Request, hosts: list[str]) -> bool:
    """Whether the request names one of these hosts, whatever its port."""
    if not hosts:
        return True
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname in hosts
    except ValueError:
        return False


def comes_from_stranger(request: Request, allowed: list[str]) -> bool:
    """
    Tell whether another site's page made the browser send a request that changes something.

    Browsers say so by Origin and Sec-Fetch-Site, which no script can forge; programs that are
    no browser send neither and hold no visitor's cookie that another site could misuse.
    """
    if request.method in SAFE_METHODS:
        return False
    origin = request.headers.get("origin")
    if origin is not None and origin in allowed:
        return False
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    return origin is not None and not _is_own(origin, request)


def _is_own(origin: str, request: Request) -> bool:
    sent_from = urlsplit(origin)
    # Behind a proxy that is not trusted the scheme is not known here, so an https origin is ours
    # too; an http one of a site reached by https is not.
    schemes = {"https"} if request.url.scheme == "https" else {"http", "https"}
    return sent_from.scheme in schemes and sent_from.netloc == request.headers.get("host")
