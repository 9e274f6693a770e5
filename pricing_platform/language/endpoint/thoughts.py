"""What a model wrote after its thoughts, where a server leaves both in one text.

Here belong the marks by which families of models set thoughts and answers apart in their own text.
Thoughts that a server tells in fields of their own belong to ``response_bodies``.
"""

from __future__ import annotations

import re

_NAMES = (
    r"(?:ant_?)?think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratch_?pad"
    r"|inner_?(?:thoughts|monologue)"
)
_OF = r"(?:[_▁]of)?[_▁]"
_BEGIN = (
    rf"<(?:\w+:)?(?:{_NAMES})(?:\s[^<>\n]*)?(?<!/)>"
    r"|\[THINK(?:ING)?\]|◁think(?:ing)?▷"
    rf"|<[|｜](?:(?:begin|start){_OF})?(?:{_NAMES})[|｜]>"
    r"|<\|channel>\s*(?:thought|analysis)|<unused94>"
)
_END = (
    rf"</(?:\w+:)?(?:{_NAMES})\s*>|<(?:{_NAMES})\s*/>"
    r"|\[/THINK(?:ING)?\]|◁/think(?:ing)?▷"
    rf"|<[|｜](?:/|end{_OF})(?:{_NAMES})[|｜]>"
    r"|<channel\|>|<unused95>"
)
_SPOKEN = r"here(?:\sis|['’]s|\sare)\smy\s"
_THOUGHTS_BEGIN = re.compile(
    rf"{_BEGIN}|\A\s*{_SPOKEN}(?:thought\sprocess|reasoning(?:\s(?:steps|process))?)\s*:",
    re.IGNORECASE,
)
_THOUGHTS_END = re.compile(
    rf"{_END}|\[BEGIN\sFINAL\sRESPONSE\]|{_SPOKEN}(?:final\s)?(?:response|answer)\s*:",
    re.IGNORECASE,
)
_WRAPPING = r"(?:final_)?(?:answer|response|solution)"
_ANSWER_BEGIN = re.compile(
    rf"<{_WRAPPING}>|<\|(?:begin|start){_OF}(?:box|{_WRAPPING})\|>", re.IGNORECASE
)
_ANSWER_END = re.compile(
    rf"</{_WRAPPING}>|<\|end{_OF}(?:box|{_WRAPPING})\|>|\[END\sFINAL\sRESPONSE\]", re.IGNORECASE
)
# OpenAI's harmony format; a server that drops its special tokens leaves the words between them.
_HARMONY = re.compile(r"<\|(?:channel|message)\|>")
_FINAL_MESSAGE = re.compile(r"final\b[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>")
_MESSAGE_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_FINAL = re.compile(r"assistantfinal(?![a-z])")
_BARE_ANALYSIS = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)[\"'“(]?[A-Z]")


def after_thoughts(text: str) -> str | None:
    """What stands after a model's thoughts, which is empty where nothing does.

    None where thoughts are unfinished: one has begun, anywhere, that has no end.
    """
    answer = _after_marks(text)
    if answer is not None and (begins := list(_ANSWER_BEGIN.finditer(answer))):
        answer = answer[begins[-1].end() :].lstrip()
    if answer is not None and (end := _ANSWER_END.search(answer)):
        answer = answer[: end.start()].rstrip()
    return answer


def _after_marks(text: str) -> str | None:
    final = _final_of_harmony(text)
    if final is None:
        return None
    ends = list(_THOUGHTS_END.finditer(final))
    answer = final[ends[-1].end() :] if ends else final
    if _THOUGHTS_BEGIN.search(answer):
        return None
    return answer.lstrip() if answer != text else text


def _final_of_harmony(text: str) -> str | None:
    """The last message of the channel ``final``; of another format, the text as it is."""
    if _HARMONY.search(text):
        finals = list(_FINAL_MESSAGE.finditer(text))
        return _MESSAGE_END.split(text[finals[-1].end() :], maxsplit=1)[0] if finals else None
    if finals := list(_BARE_FINAL.finditer(text)):
        return text[finals[-1].end() :]
    return None if _BARE_ANALYSIS.match(text) else text
