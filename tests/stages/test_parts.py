"""Messages in parts, as a webhook hands them over: by kind, and whatever the values are."""

import json
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optirelay.model import CampaignId, ChannelKind, CustomerId, Message, Outgoing, Sid, TemplateContent, TemplateId
from optirelay.stages.content import BadTemplate, CannotRender, check, prepare

AT = datetime(2031, 4, 2, 10, tzinfo=UTC)
LINK = "https://relay.example.com/u/AbC-12_x"
TO = {
    ChannelKind.EMAIL: "ana@m\u00fcller.example",
    ChannelKind.SMS: "+33612345678",
    ChannelKind.PUSH: "fcm:APA91b",
    ChannelKind.INAPP: "Ana 12",
}
SENDERS = dict.fromkeys(ChannelKind, "ACME") | {ChannelKind.EMAIL: "Acme <news@acme.example>"}
OTHERS = [kind for kind in ChannelKind if kind is not ChannelKind.EMAIL]
CONTENT = TemplateContent(
    "Hello {{ NAME }}", "<b>{{ NAME }}</b> {{ customer_id }} {{ campaign_id }} {{ unsubscribe_url }}"
)


def rendered(kind: ChannelKind, content: TemplateContent, to: str | None = None, **values: str) -> Outgoing:
    message = Message(1, Sid("s_1"), CustomerId("C-0047"), TO[kind] if to is None else to, AT, values)
    return prepare(content, default_sender=SENDERS[kind], kind=kind, whole_mail=False).render(
        message, campaign_id=CampaignId("90211"), template_id=TemplateId(17), at=AT, unsubscribe_url=LINK
    )


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_mail_is_a_text_that_escapes_nothing(kind: ChannelKind) -> None:
    out = rendered(kind, CONTENT, NAME="<Ana & Bo>")
    assert (out.text, out.html, out.content) == (f"<b><Ana & Bo></b> C-0047 90211 {LINK}", None, b"")
    assert out.subject == ("" if kind is ChannelKind.SMS else "Hello <Ana & Bo>")
    assert (out.sender, out.to) == ("ACME", TO[kind])
    assert (out.sid, out.customer_id, out.template_id, out.send_at) == ("s_1", "C-0047", 17, AT)
    assert (out.personalization, out.unsubscribe_url) == ({"NAME": "<Ana & Bo>"}, LINK)


def test_mail_in_parts_is_what_the_whole_mail_would_say() -> None:
    out = rendered(ChannelKind.EMAIL, CONTENT, NAME="<Ana & Bo>")
    assert out.subject == "Hello <Ana & Bo>"
    assert out.html == f"<b>&lt;Ana &amp; Bo&gt;</b> C-0047 90211 {LINK}"
    assert out.text == f"<Ana & Bo> C-0047 90211 {LINK}"
    assert (out.sender, out.to, out.content) == ("Acme <news@acme.example>", "ana@xn--mller-kva.example", b"")


def test_the_text_of_a_mail_is_its_own_or_made_from_the_html() -> None:
    assert rendered(ChannelKind.EMAIL, TemplateContent("s", "<p>html</p>", "own {{ X }}\n"), X="<x>").text == "own <x>"
    captured = "<p>{% capture c %}<i>{{ X }}</i>{% endcapture %}{{ c }}</p>"  # only what was rendered can be read
    assert rendered(ChannelKind.EMAIL, TemplateContent("s", captured), X="a&b").text == "a&b"
    with pytest.raises(CannotRender, match="too long to make a text from; add one"):
        rendered(ChannelKind.EMAIL, TemplateContent("s", "<p>{{ X | safe }}</p>" + "x" * 300_000), X="a")


@pytest.mark.parametrize("kind", OTHERS)
def test_a_text_beside_it_is_for_mail_alone(kind: ChannelKind) -> None:
    content = TemplateContent("s", "body", "{% nope %}")
    assert check(content, kind) == []
    assert rendered(kind, content).text == "body"


@pytest.mark.parametrize("kind", OTHERS)
def test_a_sender_id_may_be_the_templates_and_hold_liquid(kind: ChannelKind) -> None:
    content = TemplateContent("s", "body", sender="{{ SHOP }} \u00e9")
    assert rendered(kind, content, SHOP="A\r\nB").sender == "A B \u00e9"
    assert rendered(kind, content).sender == "\u00e9"
    assert check(content, kind) == ["SHOP"]


@pytest.mark.parametrize("kind", OTHERS)
def test_faults_speak_of_a_body(kind: ChannelKind) -> None:
    content = TemplateContent("{{ X", "a\n{% nope %}", sender="{{ Y")
    with pytest.raises(BadTemplate) as caught:
        check(content, kind)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "subject, line 1",
        "body, line 2",
        "from, line 1",
    ]
    with pytest.raises(BadTemplate):
        prepare(content, default_sender="", kind=kind)
    with pytest.raises(CannotRender, match=r"Template 17 cannot .*: body, line 1: ") as failed:
        rendered(kind, TemplateContent("s", "{{ X | divided_by: 0 }}"), X="secret-value")
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("sender", ["{{ X }} <news@acme.example>", '"{{ X }}" <news@acme.example>'])
@pytest.mark.parametrize(
    "value", ['x" <evil@example.net>\r\nBcc: a@b.example, "', "Ann, Bo; C <d@e.example>", "\\", '"']
)
def test_a_value_in_the_name_of_a_sender_never_becomes_the_address(sender: str, value: str) -> None:
    out = rendered(ChannelKind.EMAIL, TemplateContent("s", "<p></p>", sender=sender), X=value)
    assert out.sender.isprintable()
    mail = EmailMessage(policy=default)
    mail["From"] = out.sender  # as a receiver would
    (mailbox,) = mail["From"].addresses
    assert isinstance(mailbox, Address)
    assert mailbox.addr_spec == "news@acme.example"


@pytest.mark.parametrize("address", ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", ""])
def test_a_mail_goes_to_one_address_alone(address: str) -> None:
    with pytest.raises(CannotRender, match="recipient's address"):
        rendered(ChannelKind.EMAIL, TemplateContent("s", "<p></p>"), to=address)


@given(
    kind=st.sampled_from(ChannelKind),
    value=st.text() | st.sampled_from(["\0", "a\r\nBcc: b", "\ud800", "\x1b[2J", "\u2028", "{{ NAME }}", "&lt;"]),
)
@settings(max_examples=200, deadline=None)
def test_whatever_a_value_is_json_holds_it_and_no_header_is_broken(kind: ChannelKind, value: str) -> None:
    email = kind is ChannelKind.EMAIL
    sender = "{{ X }} <news@acme.example>" if email else "{{ X }}"
    out = rendered(kind, TemplateContent("{{ X }}", "a {{ X }}\n\tb", sender=sender), X=value)
    for line in (out.sender, out.subject):
        assert not set(line) & set("\r\n\0\u2028\u2029\x85")
        assert line == line.strip()
    for text in (out.sender, out.subject, out.text, out.html or ""):
        json.dumps(text, ensure_ascii=False).encode()
        assert not set(text) & {"\0", "\x1b", "\x7f"}
    assert (out.html or out.text).endswith("\n\tb")


def test_words_and_line_ends_stay_as_they_are() -> None:
    text = "caf\u00e9 \U0001f600\r\n\tb\n\n\u05e9\u05dc\u05d5\u05dd"
    assert rendered(ChannelKind.SMS, TemplateContent("", "{{ X }}"), X=text).text == text
