"""Streams on which parsers of Server-Sent Events have gone wrong: for our decoder, and for a browser's beside it.

Reconnection times are short, so that the browser comes back while a test waits.
"""

from __future__ import annotations

from typing import Final

NASTY: Final[dict[str, bytes]] = {
    "the usual shape": b"id: 1\nevent: x\ndata: a\n\nid: 2\ndata: b\n\ndata: c\n\n",
    "no space after the colon": b"id:1\nevent:x\ndata:a\n\n",
    "two spaces after the colon": b"id: 1\nevent:  x\ndata:  a\n\n",
    "a tab after the colon": b"data:\ta\n\n",
    "a space that ends a value": b"event: x\ndata: a \n\n",
    "a space before the name": b" data: a\n\ndata: b\n\n",
    "a space before the colon": b"data : a\n\ndata: b\n\n",
    "names in capitals": b"DATA: a\nData: b\n\ndata: c\nID: 1\nEvent: x\n\n",
    "fields without a colon": b"data\n\ndata\ndata\n\nid: 1\ndata: a\nid\n\nevent: x\nevent\ndata: b\n\n",
    "an unknown field": b"foo: 1\ndata: a\nbar\n\n",
    "an unknown field alone": b"foo: 1\n\ndata: a\n\n",
    "a colon in a value": b"data: a: b:c\nid: 1:2\nevent: x\n\n",
    "fields in another order": b"data: a\nevent: x\nid: 1\n\nevent: x\nid: 2\ndata: b\n\n",
    "data between other fields": b"data: a\nid: 1\ndata: b\nevent: x\ndata: c\n\n",
    "data over several lines": b"id: 1\ndata: a\ndata:b\ndata\ndata:  c\n\ndata: d\ndata:\ndata: \n\n",
    "data that looks like data": b"data: data: a\ndata:data:b\n\n",
    "the last of several counts": b"id: 1\nid: 2\nevent: y\nevent: x\ndata: a\n\n",
    "empty data": b"data:\n\ndata: \n\ndata\n\n",
    "a type without data": b"event: x\n\ndata: a\n\n",
    "a type that is emptied": b"event: x\nevent:\ndata: a\n\nevent: \ndata: b\n\n",
    "an id without data": b"id: 7\n\ndata: a\n\n",
    "an id without data at the end": b"data: a\n\nid: 7\n\n",
    "an id that is emptied": b"id: 1\ndata: a\n\nid\ndata: b\n\nid: 2\ndata: c\n\nid:\n\n",
    "an id that is a space": b"id: 1\ndata: a\n\nid: \ndata: b\n\n",
    "an id with NUL": b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\nid: \x00\n\n",
    "an id with NUL after a good one": b"id: 1\nid: 2\x00\ndata: a\n\n",
    "NUL in data and type": b"event: x\x00\ndata: lost to the listener\n\ndata: a\x00b\n\n",
    "an id beyond ASCII": "id: \u00e4\ndata: a\n\n".encode(),
    "an id whose block has no end": b"id: 1\ndata: a\n\nid: 2\ndata: b\n",
    "no blank line at the end": b"data: a\n\ndata: b\n",
    "no line end at the end": b"data: a\n\ndata: b",
    "CRLF": b"id: 1\r\nevent: x\r\ndata: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n",
    "CR": b"id: 1\revent: x\rdata: a\rdata: b\r\rdata: c\r\r",
    "line ends mixed": b"data: a\r\ndata: b\rdata: c\ndata: d\r\n\n\rdata: e\n\rdata: f\r\r\n",
    "LF CR is two line ends": b"data: a\n\rdata: b\n\r",
    "other line separators": "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei\n\n".encode(),
    "a byte order mark": b"\xef\xbb\xbfdata: a\n\n",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
    "a byte order mark later": b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbfc\n\n",
    "a byte order mark after a line": b"\n\xef\xbb\xbfdata: a\n\ndata: b\n\n",
    "half a byte order mark": b"\xef\xbbdata: a\n\ndata: b\n\n",
    "characters of two, three and four bytes": "id: 1\nevent: x\ndata: \u00e4\u20ac\U0001f600\n\n".encode(),
    "bytes that are no UTF-8": b"data: a\xffb\xc3\ndata: \xe2\x82\ndata: \xf0\x9f\x98x\xc0\xaf\xed\xa0\x80\n\n",
    "names that are no UTF-8": b"d\xffata: a\n\xff\ndata: b\n\n",
    "comments": b":\n\n: a\n\n:data: b\n\ndata: c\n: in between\ndata: d\n\n:\n:\n",
    "only comments": b": ok\n\n:\n\n:\n\n",
    "only blank lines": b"\n\n\r\n\r\r\n\n",
    "nothing": b"",
    "retry": b"retry: 20\n\nretry: 30\ndata: a\n\n",
    "retry that is no number": b"retry: 20\n\nretry: 1x\nretry: -1\nretry: 1.5\nretry: 0x1\ndata: a\n\n",
    "retry in other digits": "retry: 20\n\nretry: \u0661\u0662\nretry: +1\nretry:  1\ndata: a\n\n".encode(),
}
"""Bytes by what is nasty about them."""
