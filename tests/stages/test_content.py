import html as html_module
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optirelay.model import CampaignId, CustomerId, Message, Outgoing, Sid, TemplateContent, TemplateId
from optirelay.stages.content import BadTemplate, CannotRender, check, prepare
from optirelay.stages.content.bounds import HTML, TEXT, BoundedEnvironment, Context, Output
from optirelay.stages.content.frame import Frame
from optirelay.stages.content.mime import Body, encoded
from optirelay.stages.content.plain import text_template_of
from optirelay.stages.content.templating import PlainValues, parse

AT = datetime(2031, 4, 2, 10, 0, tzinfo=UTC)
SENDER = "Acme <news@acme.example>"
LINK = "https://relay.example.com/u/AbC-12_x"
HOSTILE = [
    "<script>alert(1)</script>",
    "Ana\r\nBcc: everybody@example.net",
    "{{ customer_id }} {% for %}",
    "\U0001f600 caf\u00e9 \u202e\u05e9\u05dc\u05d5\u05dd",
    "x" * 10_000,
    "\u00e9" * 5_000,
    "a\0b",
    "line end \nnext\rlone\r\n",
    ".",
    "=3D =\r\n=_",
    "=?utf-8?b?SGk=?=",
    "--=_boundary--",
    "a  b   ",
    "'\"&<>",
]


HEADERS = [
    *(b"From", b"To", b"Subject", b"Date", b"Message-ID"),
    *(b"List-Unsubscribe", b"List-Unsubscribe-Post", b"MIME-Version", b"Content-Type"),
]


def message(address: str = "ana@example.net", **personalization: str) -> Message:
    return Message(1, Sid("s_01KXA7Q2"), CustomerId("C-0047"), address, AT, personalization)


def rendered(content: TemplateContent, sender: str = SENDER, to: str = "ana@example.net", **values: str) -> Outgoing:
    template = prepare(content, default_sender=sender)
    out = template.render(
        message(to, **values),
        campaign_id=CampaignId("90211"),
        template_id=TemplateId(17),
        at=AT,
        unsubscribe_url=LINK,
    )
    assert_well_formed(out)
    return out


def assert_well_formed(out: Outgoing) -> None:
    head, _, body = out.content.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        assert len(line) <= (78 if not line.startswith((b"To:", b" <")) else 998), line
    for line in body.split(b"\r\n"):
        assert len(line) <= 76, line
    rest = out.content.replace(b"\r\n", b"")
    assert not set(rest) & {0, 10, 13}
    assert body.isascii()
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert names == HEADERS


def read(out: Outgoing) -> EmailMessage:
    mail = message_from_bytes(out.content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def parts(out: Outgoing) -> tuple[str, str]:
    """The decoded text and HTML, line ends as \\n."""
    mail = read(out)
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return tuple(  # type: ignore[return-value]
        part.get_payload(decode=True).decode("utf-8").replace("\r\n", "\n")  # type: ignore[union-attr]
        for part in (text, html)
    )


def html_of(source: str, **values: str) -> str:
    return parts(rendered(TemplateContent("s", source, "t"), **values))[1]


def text_of(source: str, **values: str) -> str:
    return parts(rendered(TemplateContent("s", source), **values))[0]


# A mail


def test_a_mail_is_what_its_template_and_its_recipient_say() -> None:
    content = TemplateContent(
        "Hello {{ NAME }}", "<p>Hi {{ NAME }}, {{ customer_id }} of {{ campaign_id }}</p>", "T {{ NAME }}"
    )
    out = rendered(content, NAME="Ana")
    mail = read(out)
    assert mail["From"] == "Acme <news@acme.example>"
    assert mail["To"] == "ana@example.net"
    assert mail["Subject"] == out.subject == "Hello Ana"
    assert mail["Date"].datetime == AT
    assert mail["Message-ID"] == "<s_01KXA7Q2@acme.example>"
    assert parts(out) == ("T Ana", "<p>Hi Ana, C-0047 of 90211</p>")
    assert (out.sender, out.to) == ("news@acme.example", "ana@example.net")
    assert (out.sid, out.customer_id, out.template_id) == ("s_01KXA7Q2", "C-0047", 17)


def test_every_mail_says_how_to_unsubscribe_by_one_click() -> None:
    for content in (TemplateContent("s", "<p></p>"), TemplateContent("{{ X }}", "<p>{{ X | upcase }}</p>", "{{ X }}")):
        out = rendered(content, X="a\r\nList-Unsubscribe: <https://evil.example>")
        assert read(out).get_all("List-Unsubscribe") == [f"<{LINK}>"]
        assert read(out).get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
        assert out.unsubscribe_url == LINK


@pytest.mark.parametrize("html", ["<p>{{ unsubscribe_url }}</p>", "<p>{{ unsubscribe_url | append: '' }}</p>"])
@pytest.mark.parametrize("text", ["{{ unsubscribe_url }}", None])
def test_a_template_may_show_the_link_that_unsubscribes(html: str, text: str | None) -> None:
    out = rendered(TemplateContent("s", html, text), unsubscribe_url="https://evil.example")
    assert [part.strip() for part in parts(out)] == [LINK, f"<p>{LINK}</p>"]


def test_the_link_that_unsubscribes_stands_in_an_attribute_and_in_the_text_made_from_it() -> None:
    out = rendered(TemplateContent("s", '<p>No more? <a href="{{ unsubscribe_url }}">Unsubscribe</a></p>'))
    text, html = parts(out)
    assert text == f"No more? Unsubscribe ({LINK})\n"
    assert f'href="{LINK}"' in html


def test_the_same_message_is_the_same_mail() -> None:
    content = TemplateContent("s", "<p>{{ NAME }}</p>")
    assert rendered(content, NAME="Ana") == rendered(content, NAME="Ana")


def test_the_boundary_is_the_same_for_every_message_of_a_version_and_another_for_the_next() -> None:
    def boundary(html: str, name: str) -> Any:
        return read(rendered(TemplateContent("s", html), NAME=name)).get_boundary()

    assert boundary("<p>{{ NAME }}</p>", "Ana") == boundary("<p>{{ NAME }}</p>", "Bob") != boundary("<b></b>", "Ana")


def test_what_a_recipient_lacks_renders_as_nothing_or_as_its_default() -> None:
    assert html_of("<p>[{{ A }}|{{ B | default: 'you' }}|{{ C.d[0] }}|{{ promo_codes[0] }}|{{ promo_codes }}]</p>") == (
        "<p>[|you|||]</p>"
    )


def test_an_empty_value_takes_the_default_too() -> None:
    assert html_of("{{ A | default: 'you' }}", A="") == "you"


def test_names_count_exactly_as_written() -> None:
    assert html_of("{{ name }}{{ NAME }}{{ ['FIRST NAME'] }}", NAME="x", **{"FIRST NAME": "y"}) == "xy"


def test_now_is_the_date_of_the_mail_and_dates_are_utc() -> None:
    source = "{{ 'now' | date: '%Y-%m-%d %H' }} {{ now | date: '%Y' }} {{ today | date: '%d' }} {{ '0' | date: '%H' }}"
    assert html_of(source) == "2031-04-02 10 2031 02 00"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("2031-04-02 10:00:00", "02.04.31"), ("March 14, 2016", "14.03.16"), ("soon", "soon"), ("9" * 400, "9" * 400)],
)
def test_what_is_no_date_passes_as_it_is(value: str, shown: str) -> None:
    assert html_of("{{ D | date: '%d.%m.%y' }}", D=value) == shown


# Headers


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_the_subject_stays_one_header(value: str) -> None:
    out = rendered(TemplateContent("Hello {{ X }}!", "<p></p>"), X=value)
    mail = read(out)
    assert mail.get_all("Subject") is not None
    assert len(mail.get_all("Subject", [])) == 1
    assert mail["Bcc"] is None
    assert mail["Subject"] == out.subject
    assert out.subject == "Hello " + re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", value) + "!"


def test_a_long_subject_is_folded_and_reads_the_same() -> None:
    subject = "word " * 60 + "end"
    out = rendered(TemplateContent(subject, "<p></p>"))
    assert read(out)["Subject"] == subject
    assert b"=?" not in out.content


def test_a_subject_may_be_empty() -> None:
    assert read(rendered(TemplateContent("{{ X }}", "<p></p>")))["Subject"] == ""


@pytest.mark.parametrize(
    ("sender", "name", "address"),
    [
        ("news@acme.example", "", "news@acme.example"),
        (" <news@acme.example> ", "", "news@acme.example"),
        ('"Acme, Inc." <news@acme.example>', "Acme, Inc.", "news@acme.example"),
        ("Acme, Inc. <news@acme.example>", "Acme, Inc.", "news@acme.example"),
        ('Acme "the" Shop <news@acme.example>', 'Acme "the" Shop', "news@acme.example"),
        (r'"Acme \"the\" Shop \\" <news@acme.example>', 'Acme "the" Shop \\', "news@acme.example"),
        ("Caf\u00e9 \U0001f600 <news@acme.example>", "Caf\u00e9 \U0001f600", "news@acme.example"),
        ("Acme " * 30 + "<news@acme.example>", ("Acme " * 30).strip(), "news@acme.example"),
        ("News <news@m\u00fcller.example>", "News", "news@xn--mller-kva.example"),
        ("{{ BRAND }} <news@{{ SITE }}.example>", "<b>, x@y.example", "news@acme.example"),
        ("{% if 1 < 2 %}A{% endif %} <news@acme.example>", "A", "news@acme.example"),
    ],
)
def test_the_from_is_a_name_and_an_address(sender: str, name: str, address: str) -> None:
    out = rendered(TemplateContent("s", "<p></p>", sender=sender), BRAND="<b>, x@y.example", SITE="acme")
    mailbox: Address = read(out)["From"].addresses[0]
    assert (mailbox.display_name, mailbox.addr_spec) == (name, address)
    assert out.sender == address


def test_a_value_in_the_name_of_the_sender_never_becomes_the_address() -> None:
    evil = 'x" <evil@example.net>\r\nBcc: a@b.example, "'
    out = rendered(TemplateContent("s", "<p></p>", sender="{{ X }} <news@acme.example>"), X=evil)
    assert out.sender == "news@acme.example"
    assert [a.addr_spec for a in read(out)["From"].addresses] == ["news@acme.example"]


@pytest.mark.parametrize("value", ["", "nobody", "a@b@c.example", "a@b.example>, <c@d.example", "a@b.example\r\nX: y"])
def test_a_from_that_renders_to_no_address_cannot_be_sent(value: str) -> None:
    with pytest.raises(CannotRender, match=r"Template 17 .*from's address is empty or no e-mail address") as caught:
        rendered(TemplateContent("s", "<p></p>", sender="Acme <{{ X }}>"), X=value)
    assert not value or value not in str(caught.value)


def test_the_channels_from_counts_where_the_template_has_none() -> None:
    assert rendered(TemplateContent("s", "<p></p>"), sender="a@b.example").sender == "a@b.example"


def test_a_domain_that_is_not_ascii_travels_as_idna() -> None:
    assert rendered(TemplateContent("s", "<p></p>"), to="ana@m\u00fcller.example").to == "ana@xn--mller-kva.example"


def test_a_local_part_that_is_not_ascii_stays_as_it_is() -> None:
    out = rendered(TemplateContent("s", "<p></p>"), to="j\u00f6rg@m\u00fcller.example")
    assert out.to == "j\u00f6rg@xn--mller-kva.example"
    assert f"\r\nTo: {out.to}\r\n".encode() in out.content


@pytest.mark.parametrize(
    "address", ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "<a@b.example>", ""]
)
def test_an_address_that_could_break_a_header_is_refused(address: str) -> None:
    with pytest.raises(CannotRender, match="recipient's address"):
        rendered(TemplateContent("s", "<p></p>"), to=address)


# Values


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "source", ["<p>{{ X }}</p>", "<p>{% if X %}{{ X }}{% endif %}</p>", "<p>{{ X | append: '' }}</p>"]
)
def test_a_value_is_escaped_in_html_and_not_in_text(source: str, value: str) -> None:
    text, html = parts(rendered(TemplateContent("s", source, "[{{ X }}]"), X=value))
    as_read = value.replace("\r\n", "\n")
    assert text == f"[{as_read}]"
    inner = html.removeprefix("<p>").removesuffix("</p>")
    assert html_module.unescape(inner) == as_read
    assert not set("<>\"'") & set(inner)


@given(value=st.text(), before=st.text(max_size=90), after=st.text(max_size=90))
@example(value=" ", before="x" * 76, after="\n")
@example(value="\r", before="", after="\nx")
@example(value="x" * 76, before="x" * 75, after=" ")
@settings(max_examples=150, deadline=None)
def test_whatever_a_value_is_the_mail_is_well_formed_and_says_it(value: str, before: str, after: str) -> None:
    before, after = (re.sub(r"[{}%]", "", constant) for constant in (before, after))
    content = TemplateContent("{{ X }}", f"{before}{{{{ X }}}}{after}", f"{before}{{{{ X }}}}{after}")
    text, html = parts(rendered(content, X=value))

    def plain(decoded: str) -> str:
        return decoded.replace("\r\n", "\n")

    # A CR and LF that come from two sides of a seam are two line ends or one: readers see no difference.
    assert text.replace("\r", "\n").split() == plain(before + value + after).replace("\r", "\n").split()
    assert plain(html_escaped(value)) in html


def html_escaped(value: str) -> str:
    return html_module.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


PIECES = """
{{ X }}|{{ Y }}|{{ X | default: 'caf\u00e9 <b>' }}|{{ X | upcase }}|{{ Z | default: Y }}|{{ X.size }}|{{- Y -}}
{{ '<b>' }}|{% if X %}yes{% else %}no {{ Y }}{% endif %}|{% for i in (1..3) %}{{ i }}{{ X }} {% endfor %}
{% increment Y %}|{% assign Y = X | append: '!' %}|{% capture Z %}<i>{{ X }}</i>{% endcapture %}
{% cycle 'a', X %}|{{ now }}|{% unless X %}\r{% endunless %}|{% raw %}{{ X }}{% endraw %}
{% comment %}no{% endcomment %}|{{ promo_codes }}
text |=\t|\u20ac| |="""
WORDS = st.text("abc XYZ.-@", max_size=80)
SNIPPETS = ["\n", "x" * 77, " \n", *re.split(r"\n|(?<! )\|(?! )", PIECES)]


@given(
    pieces=st.lists(st.sampled_from(SNIPPETS), max_size=12),
    x=st.text(max_size=100) | WORDS,
    y=st.text(max_size=20) | WORDS,
    environment=st.sampled_from([HTML, TEXT]),
)
@example(pieces=["{{ X }}", "{{ Y }}", "a {{ X }}"], x="x" * 75, y="Ana ", environment=HTML)
@example(pieces=["{{ Y }}", "\n{{ X }}\n", " \n"], x="x" * 76, y="", environment=TEXT)
@settings(max_examples=200, deadline=None)
def test_rendering_piece_by_piece_gives_what_rendering_at_once_gives(
    pieces: list[str], x: str, y: str, environment: BoundedEnvironment
) -> None:
    source = "".join(pieces)
    scope = {"X": x, "Y": y, "promo_codes": list[str]()}
    part = parse("html", source, environment)
    between = part.render(scope, AT)

    context = Context(part.template, scope, AT)
    at_once = Output(context)
    part.template.render_with_context(context, at_once)
    assert part.whole(between) == at_once.getvalue()

    body, plain = Body(part.constants, part.places), PlainValues.of(part)
    for texts in (body.between(between), plain.fit(scope) if plain else None):
        if texts is None:
            continue
        joined = Frame(body.constants).filled(texts).encode()
        assert all(len(line) <= 76 for line in joined.split(b"\r\n"))
        if "\r" not in x + y + source:
            assert decoded(joined) == decoded(encoded(at_once.getvalue())) == at_once.getvalue()


def test_values_that_need_nothing_are_put_in_as_they_are() -> None:
    plain = PlainValues.of(parse("html", "a {{ X }} b {{ Y | default: 'you' }} c {{ X }}", HTML))
    assert plain is not None
    assert plain.fit({"X": "Ana", "Y": ""}) == ["Ana", "you", "Ana"]
    for value in ("<b>", "caf\u00e9", "1=1", "a\nb", "x" * 76):
        assert plain.fit({"X": "Ana", "Y": value}) is None
    assert PlainValues.of(parse("html", "{{ X | upcase }}", HTML)) is None


def decoded(body: bytes) -> str:
    mail = message_from_bytes(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body
    )
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


FILTERS = sorted(set(HTML.filters) - {"safe"})


@given(chain=st.lists(st.sampled_from(FILTERS), max_size=4), argument=st.sampled_from(["X", "' '", "''", "1", "'x'"]))
@settings(max_examples=300, deadline=None)
def test_no_filter_but_safe_lets_a_value_write_html(chain: list[str], argument: str) -> None:
    for call in ({name: f" | {name}" for name in FILTERS}, {name: f" | {name}: {argument}" for name in FILTERS}):
        source = f"{{{{ X{''.join(call[name] for name in chain)} }}}}"
        try:
            part = parse("html", source, HTML)
            [text] = part.render({"X": "<script>&lt;script&gt;%3Cscript%3E</script>"}, AT)
        except (BadTemplate, CannotRender):
            continue
        assert "<script" not in text
        assert "</script" not in text


def test_only_the_author_can_switch_escaping_off() -> None:
    assert html_of("{{ X | safe }}{{ X }}", X="<b>") == "<b>&lt;b&gt;"


def test_what_was_captured_is_not_escaped_twice() -> None:
    assert html_of("{% capture c %}<i>{{ X }}</i>{% endcapture %}{{ c }}", X="<b>") == "<i>&lt;b&gt;</i>"


# Templates that are wrong


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (TemplateContent("{{ X", "<p></p>"), r"subject, line 1: \{\{ is never closed"),
        (TemplateContent("s", "<p>\n\n{% if X %}"), "html, at its end: expected tag endif"),
        (TemplateContent("s", "<p>\n{{ X | nope }}</p>"), "html, line 2: unknown filter 'nope'"),
        (TemplateContent("s", "<p>\n{% if X | upcase %}{% endif %}"), "html, line 2"),
        (
            TemplateContent("s", "<p></p>", "\n\n{{ X | append }}"),
            "text, line 3: the filter 'append': missing a required",
        ),
        (
            TemplateContent("s", "{% for i in (1..X) %}{{ i | plus: 1, 2 }}{% endfor %}"),
            "html, line 1: the filter 'plus'",
        ),
        (TemplateContent("s", "<p></p>", sender="Acme"), "from: 'Acme' is no e-mail address"),
        (TemplateContent("s", "<p></p>", sender="Acme <a@b.example> x"), "from: .* is no e-mail address"),
        (TemplateContent("s", "<p></p>", sender="{{ X <a@b.example>"), "from, line 1"),
        (TemplateContent("s", "{% include 'x' %}"), "unexpected tag 'include'"),
        (TemplateContent("s", "{% render 'x' %}"), "unexpected tag 'render'"),
        (TemplateContent("s", "{% if a %}" * 40 + "{% endif %}" * 40), "nest"),
        (TemplateContent("s", "{{ " + "a[" * 5000 + "b" + "]" * 5000 + " }}"), "html"),
    ],
)
def test_a_template_that_is_no_liquid_is_told_with_part_line_and_mend(content: TemplateContent, fault: str) -> None:
    for use in (check, lambda content: prepare(content, default_sender=SENDER)):
        with pytest.raises(BadTemplate, match=fault):
            use(content)


@pytest.mark.parametrize(
    "source",
    [
        "{{" * 100_000,
        "{%" * 100_000,
        "{{" + " " * 100_000 + "}}",
        "{{ x" + " " * 100_000,
        "{% comment %}" + "{% raw %}" * 20_000,
        "{% raw %}" * 20_000,
        "<!--" * 20_000 + "{{ x | safe }}",
        "<style>" * 20_000,
        "<p>" * 80_000 + "{% raw %}{% endraw %}",
        "<a href='" * 20_000,
        '<a "<b \'" ' * 10_000,
    ],
)
@pytest.mark.timeout(60)  # read without care each of them takes hours
def test_a_hostile_template_is_read_or_told(source: str) -> None:
    for content in (TemplateContent("s", source), TemplateContent("s", "<p></p>", sender=source[:65_536])):
        try:
            mail = rendered(content)
        except BadTemplate:
            continue
        assert mail.content.isascii()


def test_html_too_long_to_be_made_into_text_for_each_recipient_is_told() -> None:
    with pytest.raises(CannotRender, match="too long to make a text from; add one"):
        rendered(TemplateContent("s", "<p>{{ X | safe }}</p>" + "x" * 300_000), X="a")


def test_every_part_that_is_wrong_is_told() -> None:
    with pytest.raises(BadTemplate) as caught:
        check(TemplateContent("{{ X", "{% nope %}", "{{ }}", "Acme"))
    assert [fault.split(",")[0].split(":")[0] for fault in caught.value.faults] == ["subject", "html", "text", "from"]
    assert all("push" in fault or "write" in fault for fault in caught.value.faults)


def test_check_tells_the_names_that_the_recipient_must_bring() -> None:
    content = TemplateContent(
        "{{ A }}",
        "{% assign own = B %}{{ own }}{% for i in promo_codes %}{{ i }}{{ forloop.index }}{{ C.d }}{% endfor %}",
        "{{ E | default: F }}",
        "{{ G }} <a@b.example>",
    )
    assert check(content) == ["A", "B", "C", "E", "F", "G", "promo_codes"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ X | divided_by: 0 }}",
        "{{ X | base64_decode }}",
        "{% break %}",
        "\n{{ X | round | slice: X }}",
        "{{ X | first | concat: X }}",
    ],
)
def test_what_cannot_be_rendered_says_where_and_shows_no_value(source: str) -> None:
    with pytest.raises(CannotRender, match=r"Template 17 cannot .*: html, line \d: ") as caught:
        html_of(source, X="secret-value")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


# Templates that want too much

GROWING = "{% assign s = 'abcdefghij' %}{% for i in (1..40) %}{% assign s = s | FILTER %}{% endfor %}{{ s }}"
HUNGRY = {
    "a long loop": "{% for i in (1..1000000000) %}{{ i }}{% endfor %}",
    "a long loop that writes nothing": "{% for i in (1..99999) %}{% for j in (1..99999) %}{% endfor %}{% endfor %}",
    "loops in loops": "{% for a in (1..999) %}" * 8 + "x" + "{% endfor %}" * 8,
    "loops one after another": "{% for i in (1..50000) %}{% if a %}{% endif %}{% endfor %}" * 2000,
    "a loop backwards": "{% for i in (1..1000000000) reversed %}{% endfor %}",
    "a loop from far on": "{% for i in (1..999) %}{% for j in (0..9999) reversed offset: 9999 %}" + "{% endfor %}" * 2,
    "a loop over a number of the recipient's": "{% for i in (1..N) %}{{ i }}{% endfor %}",
    "a range as a list": "{{ (1..1000000000) | join: ',' }}",
    "a range that is searched": "{% if (1..1000000000) contains 'a' %}{% endif %}",
    "a range that is assigned": "{% assign r = (1..1000000000) %}{{ r | sort | reverse | uniq }}",
    "a range in a case": "{% case x %}{% when (1..1000000000) %}{% endcase %}{{ (1..1000000000) | uniq }}",
    "tablerow": "{% tablerow i in (1..1000000000) cols: 2 %}{{ i }}{% endtablerow %}",
    "a loop in liquid": "{% liquid\nfor i in (1..99999)\nfor j in (1..99999)\necho i\nendfor\nendfor %}",
    "append": GROWING.replace("FILTER", "append: s"),
    "prepend": GROWING.replace("FILTER", "prepend: s"),
    "replace": GROWING.replace("FILTER", "replace: 'a', s"),
    "replace nothing": GROWING.replace("FILTER", "replace: '', s"),
    "replace by many": "{{ L | replace: 'x', L | replace: 'x', L | replace: 'x', L }}",
    "join": "{% assign l = L | split: '' %}{{ l | join: L }}",
    "split and uniq": "{% assign l = L | split: '' %}{{ l | uniq | size }}",
    "concat": "{% assign l = L | split: 'y' %}" + "{% assign l = l | concat: l %}" * 40 + "{{ l }}",
    "capture": "{% assign s = 'x' %}{% for i in (1..60) %}{% capture s %}{{ s }}{{ s }}{% endcapture %}{% endfor %}",
    "powers": "{% assign n = 9 %}{% for i in (1..60) %}{% assign n = n | times: n %}{% endfor %}{{ n }}",
    "url_encode": "{{ L" + " | url_encode" * 200 + " }}",
    "much searching": "{% for i in (1..20000) %}{% if L contains M %}{% endif %}{% endfor %}",
    "many filters": "{% for i in (1..20000) %}{{ L" + " | upcase | downcase" * 50 + " }}{% endfor %}",
    "a wide date": "{{ 'now' | date: '%9999999999d' }}",
    "much text": "{{ L }}" * 2000,
    "much text of a block": "{% if true %}{{ L }}{% endif %}" * 2000,
}  # fmt: skip


@pytest.mark.parametrize("source", HUNGRY.values(), ids=HUNGRY)
@pytest.mark.timeout(60)  # without a bound on its work each of them would run for hours
def test_a_template_that_wants_too_much_ends(source: str) -> None:
    part = parse("html", source, HTML)
    try:
        rendered = part.whole(part.render({"L": "x" * 10_000, "M": "x" * 5_000 + "y", "N": "9" * 3000}, AT))
    except CannotRender:
        return
    assert len(rendered) <= 1024 * 1024


@pytest.mark.parametrize(
    "source",
    [
        "{% assign v" + str(1) + " = X %}" * 20_000,
        "{{ X }}" * 20_000,
        "x" * 1_000_000,
        "{{ X " + "| upcase " * 5_000 + "}}",
    ],
    ids=["assigns", "outputs", "literal", "chain"],
)
@pytest.mark.timeout(60)
def test_a_large_template_is_rendered_all_the_same(source: str) -> None:
    part = parse("html", source, HTML)
    rendered = part.whole(part.render({"X": "a"}, AT))
    assert len(rendered) <= len(source)


@pytest.mark.parametrize(("end", "shown"), [("3", "123"), ("2.9", "12"), ("N", "1234"), ("W", ""), ("missing", "")])
def test_a_range_ends_where_liquid_has_it(end: str, shown: str) -> None:
    assert html_of(f"{{% for i in (1..{end}) %}}{{{{ i }}}}{{% endfor %}}", N="4", W="word") == shown


def test_ordinary_loops_are_far_from_the_limit() -> None:
    row = "<tr><td style='padding:8px'>{{ i }}: {{ code | upcase }}</td></tr>" * 10
    source = "{% assign codes = 'a,b,c,d' | split: ',' %}{% for i in (1..25) %}{% for code in codes %}" + row
    assert html_of(source + "{% endfor %}{% endfor %}").count("<tr>") == 1000


# The text part


def test_a_text_of_its_own_wins() -> None:
    assert parts(rendered(TemplateContent("s", "<p>html</p>", "own {{ X }}"), X="<x>"))[0] == "own <x>"


def test_a_text_is_made_from_the_html() -> None:
    source = """<html><head><title>T {{ X }}</title><style>p { color: red }</style></head><body>
    <!-- {{ X }} --><div style="display:none">{{ X }}</div>
    <h1>Hello {{ NAME | default: 'there' }} &amp; co</h1>
    <p class="{% if X %}a{% else %}b{% endif %}">See <a href="https://shop.example/?a=1&amp;c={{ customer_id }}">
    our <b>shop</b></a> or <a href="https://acme.example">https://acme.example</a>, <a
    href="mailto:a@b.example?subject=x">write</a>
    <a href="#top">up</a><img src="{{ IMG }}" alt="A cup"><img src="x.gif"></p></body></html>"""
    assert text_template_of(source) is not None
    text = text_of(source, NAME="<Ana>", X="no", IMG="nowhere")
    assert text == (
        "Hello <Ana> & co\n\n"
        "See our shop (https://shop.example/?a=1&c=C-0047) or https://acme.example, write (a@b.example) up A cup\n"
    )


TABLE = (
    "<table><tr><th>Item</th><th>Price</th></tr>"
    "{% for i in (1..3) %}<tr><td>{{ i }}</td><td>{{ PRICE }}</td></tr>{% endfor %}"
    "{% if GIFT %}<tr><td>Gift</td><td>{{ GIFT }}</td></tr>{% else %}<tr><td>No gift</td></tr>{% endif %}"
    "</table><p>Bye</p>"
)


@pytest.mark.parametrize(("gift", "last"), [({"GIFT": "<cup>"}, "Gift <cup>"), ({}, "No gift")])
def test_loops_and_ifs_around_rows_of_a_table_survive_as_text(gift: dict[str, str], last: str) -> None:
    assert text_template_of(TABLE) is not None
    text = text_of(TABLE, PRICE="5 \u20ac", **gift)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    assert lines == ["Item Price", "1 5 \u20ac", "2 5 \u20ac", "3 5 \u20ac", last, "Bye"]


@pytest.mark.parametrize(
    "source",
    [
        "<p>{% capture x %}<b>{{ X }}</b>{% endcapture %}{{ x }}</p>",
        "<p>{{ X | safe }}</p>",
        "<p>{{ Y | default: '<b>a</b>' }}</p>",
        "<p>{% raw %}{{ X }}{% endraw %}</p>",
        "<table>{% tablerow i in (1..2) %}{{ X }}{% endtablerow %}</table>",
        "<p {% if X %}class='a'>{% else %}class='b'>{% endif %}{{ X }}</p>",
        "<a href='{{ X }}'>{% if X %}a{% endif %}</a>",
        "<p>{<b>{{ X }}</b>}</p>",
        "<p>&#123;&#123; X }}</p>",
        "<style>{% assign Z = 1 %}</style>{{ Z }}",
        "<p>\ue0000\ue001{{ X }}</p>",
    ],
)
def test_where_liquid_cannot_be_kept_the_rendered_html_becomes_text(source: str) -> None:
    assert text_template_of(source) is None
    text = text_of(source, X="a&b")
    assert "<" not in text
    assert "{%" not in text


def test_a_filter_that_only_escapes_leaves_no_entity_in_the_text() -> None:
    assert text_of("<p>{{ X | escape }} {{ X | escape_once }}</p>", X="a & b") == "a & b a & b\n"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_a_text_made_from_html_is_text(value: str) -> None:
    text = text_of("<p>Hi {{ X }}, bye</p>", X=value)
    assert text == f"Hi {value}, bye\n".replace("\r\n", "\n")


@pytest.mark.parametrize("value", [*HOSTILE, "\ud800", "\ufffe\x1b\x85", "]]>", "&#0;"])
def test_no_value_breaks_a_text_that_is_made_from_the_rendered_html(value: str) -> None:
    source = "<p>{% capture c %}{{ X }}{% endcapture %}{{ c }} end</p>"
    assert text_template_of(source) is None
    assert text_of(source, X=value).endswith("end\n")


@pytest.mark.parametrize(
    "source", ["", " ", "{{ X }}", "<!-- only -->", "<p", "<p a='", "</p></p>", "<" * 5000, "<a>" * 300]
)
def test_html_of_any_shape_has_a_text(source: str) -> None:
    assert len(parts(rendered(TemplateContent("s", source), X=""))) > 1
