"""Which addresses are public: nobody's own network, no cloud's inner services; pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# What `is_global` takes for public although no website lies there.
_INNER_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "168.63.129.16/32",  # Azure: its agent's server, with a machine's keys
            "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata is .192
            "192.88.99.0/24",  # relays into 6to4, withdrawn by RFC 7526
            "192.31.196.0/24",  # AS112, answers for private names
            "192.175.48.0/24",  # AS112
            "192.52.193.0/24",  # relays for multicast, RFC 7450
            "161.26.0.0/16",  # IBM Cloud: services that only its machines reach
            "166.8.0.0/14",  # IBM Cloud, the same
        ),
    )
)
# IANA has given out nothing else to the internet: fc00::, fe80::, fec0::, ::, 64:ff9b:1:: fall out.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_INNER_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: benchmarks, ORCHID; Teredo is looked into before
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation, RFC 9637
            "2620:4f:8000::/48",  # AS112
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # the third quarter of an address that ends in an IPv4 one


def is_public(address: str) -> bool:
    """
    Whether an address, as `getaddrinfo` spells it, is one of the public internet.

    >>> is_public("8.8.8.8"), is_public("64:ff9b::8.8.8.8"), is_public("64:ff9b::10.0.0.1")
    (True, True, False)
    """
    ip = ip_address(address.split("%")[0])
    return _is_public_ipv4(ip) if isinstance(ip, IPv4Address) else _is_public_ipv6(ip)


def _is_public_ipv4(ip: IPv4Address) -> bool:
    return (
        ip.is_global
        and not ip.is_multicast
        and not ip.is_reserved
        and not any(ip in network for network in _INNER_IPV4)
    )


def _is_public_ipv6(ip: IPv6Address) -> bool:
    embedded = _embedded_ipv4(ip)
    if embedded:
        return all(map(_is_public_ipv4, embedded))
    return ip in _PUBLIC_IPV6 and not any(ip in network for network in _INNER_IPV6)


def _embedded_ipv4(ip: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses embedded in an IPv6 one: its packets end up there."""
    last = IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.ipv4_mapped:
        return (ip.ipv4_mapped,)
    if ip.sixtofour:
        return (ip.sixtofour,)
    if ip.teredo:
        return ip.teredo  # its server and its client
    if ip in _NAT64:
        return (last,)
    isatap = ip in _PUBLIC_IPV6 and int(ip) >> 32 & 0xFFFF_FFFF in _ISATAP
    return (last,) if isatap else ()
