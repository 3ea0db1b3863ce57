"""Texts that run in a browser where a page shows them as they are."""

__all__ = ["MARKUP", "RUN"]

RUN = "console.log(73571)"  #: no space and no quote, so that it fits everywhere; a dialog would stop a page
MARKUP: tuple[str, ...] = (
    f"<script>{RUN}</script>", f'"><script>{RUN}</script>', f"'><script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}>", f"<svg/onload={RUN}//", f"</title><script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"<iframe srcdoc='<script>{RUN}</script>'>", f"<iframe src=javascript:{RUN}>", f"javascript:{RUN}",
    f"<a href=javascript:{RUN}>x</a>", f"<body onload={RUN}>", f"<details open ontoggle={RUN}>",
    f"<math><mtext></table><mglyph><style><img src onerror={RUN}>", f"<!--><script>{RUN}</script>",
    f"<![CDATA[<script>{RUN}</script>]]>", f"<xml onreadystatechange={RUN}>", f"<input autofocus onfocus={RUN}>",
    f"<object data='data:text/html,<script>{RUN}</script>'>", f"<embed src='data:image/svg+xml,<svg onload={RUN}>'>",
    f"{{{{constructor.constructor('{RUN}')()}}}}", f"${{{RUN}}}", f"<%= {RUN} %>", f"#{{{RUN}}}",
    f"\u003cscript\u003e{RUN}\u003c/script\u003e", f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"%3Cscript%3E{RUN}%3C/script%3E",
    f"+ADw-script+AD4-{RUN}+ADw-/script+AD4-", f"\u2028<script>{RUN}</script>", f"<scr\u0130pt>{RUN}</scr\u0130pt>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>", f"<base href=javascript:{RUN}//>",
    f"<link rel=stylesheet href=data:text/css,*{{background:url(javascript:{RUN})}}>",
    f"<style>@import'{RUN}'</style>",
    f"<form action=javascript:{RUN}><button>x</button></form>", f"<template><script>{RUN}</script></template>",
    f"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>{RUN}</script></html>",
)  # fmt: skip
