"""Exports of Shopify, WooCommerce and Google Merchant become listings as their shops mean them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.file_layout import DeclaredLayout, file_layout
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.records import count_rows, row_batches
from pricing_platform.errors import PlatformError
from pricing_platform.pricing.serving.new_products import items_of, read_products
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.catalog.published_rows import kept, refused, source_of

SHOPIFY = """\
Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,\
Option2 Name,Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Grams,\
Variant Inventory Qty,Variant Price,Variant Compare At Price,Variant Barcode,Image Src,\
Image Position,Gift Card,SEO Title,Material (product.metafields.shopify.material),\
Variant Weight Unit,Cost per item,Price / International,Status
linen-shirt,Linen Shirt,"<p>Woven in Portugal.<br>Cut wide.</p>

<p>Wash at 30 °C.</p>",Nordwind,Apparel > Shirts,Shirts,"linen, summer",true,Color,White,Size,S,,,\
LS-W-S,210,4,49.90,69.90,4006381333931,https://cdn.example.com/1.jpg,1,false,Linen shirt,Linen,g,\
18.20,55.00,active
linen-shirt,,,,,,,,,White,,M,,,LS-W-M,220,9,49.90,69.90,4006381333932,https://cdn.example.com/2.jpg,\
2,,,,g,18.20,55.00,
linen-shirt,,,,,,,,,Blue,,M,,,LS-B-M,220,0,54.90,,4006381333933,,,,,,g,18.90,60.00,
linen-shirt,,,,,,,,,,,,,,,,,,,,https://cdn.example.com/3.jpg,3,,,,,,,
oak-board,Oak Board,<p>Oiled by hand.</p>,Holz & Co,,Kitchen,,true,Title,Default Title,,,,,OB-1,\
900,3,24.00,,,https://cdn.example.com/4.jpg,1,false,,,kg,9.50,27.00,active
"""
SHOPIFY_NOW = """\
Title,URL handle,Description,Vendor,Product category,Type,Tags,SKU,Option1 name,Option1 value,\
Price,Compare-at price,Cost per item,Weight value (grams),Product image URL
Oak Board,oak-board,Oiled by hand.,Holz & Co,Home,Kitchen,,OB-S,Size,Small,24.00,\
30.00,9.50,900,a.jpg
,oak-board,,,,,,OB-L,,Large,31.00,,12.50,1400,
,oak-board,,,,,,,,,,,,,b.jpg
"""
WOOCOMMERCE = """\
ID,Type,SKU,Name,Published,Short description,Description,Date sale price starts,\
Date sale price ends,In stock?,Weight (kg),Length (cm),Sale price,Regular price,Categories,Tags,\
Images,Parent,Attribute 1 name,Attribute 1 value(s),Attribute 1 visible,Attribute 1 global,\
Attribute 2 name,Attribute 2 value(s),Meta: _wc_cog_cost
44,variable,MUG,Stoneware Mug,1,Glazed mug,<p>Thrown by hand.</p>,,,1,,,,,\
"Kitchen > Mugs, Sale",gift,https://shop.example.com/m.jpg,,Colour,"Blue, Grey",1,1,Material,Clay,
45,variation,MUG-B,Stoneware Mug - Blue,1,,,,,1,0.4,,,18.00,,,,id:44,Colour,Blue,,1,,,6.10
46,variation,MUG-G,Stoneware Mug - Grey,1,,,,,1,0.4,,15.50,18.00,,,,MUG,Colour,Grey,,1,,,6.10
47,simple,TOWEL,Linen Towel,1,,Soft.,2024-03-01,2024-03-31,1,0.2,70,9.00,12.00,\
"Bath\\, Linen > Towels",,,,,,,,,,3.00
48,simple,SOAP,Olive Soap,1,,Mild.,2024-04-01,,1,0.1,,3.00,4.50,Bath,,,,,,,,,,1.00
49,grouped,SET,Bath Set,1,,A set.,,,1,,,,,Bath,,,,,,,,,,
50,"simple, virtual",PLAN,Care Plan,1,,A plan.,03/04/2024,05/04/2024,1,,,5.00,8.00,\
Services,,,,,,,,,,
"""
GOOGLE = """\
id\ttitle\tdescription\tlink\timage link\tavailability\tprice\tsale_price\t\
sale_price_effective_date\tgoogle_product_category\tproduct_type\tbrand\tgtin\tmpn\tcondition\tcolor\
\tsize\titem_group_id\tshipping\tcost_of_goods_sold\tcustom_label_0
TV-40\t40" LED TV\tA "smart" set\thttps://shop.example.com/tv\thttps://cdn.example.com/tv.jpg\t\
in_stock\t279.00 EUR\t\t\tElectronics > Video\tTV > LED\tSonar\t4006381333931\tTV40X\tnew\tBlack\t\
40\t\tDE:::4.90 EUR\t180.00 EUR\tmargin 99
KETTLE\tKettle\tBoils 1.7 l\thttps://shop.example.com/k\t\tin_stock\t1.039,00 EUR\t39,00 EUR\t\
2024-03-01T00:00+0100/2024-03-31T23:59+0100\t\tKitchen\tSonar\t\tK-1\tnew\t\t\t\t\t\t
LAMP\tLamp\tBright\thttps://shop.example.com/l\t\tin_stock\t45.00 USD\t\t\t\tLamps\tSonar\t\tL-1\t\
new\t\t\t\t\t\t
FAN\tFan\tQuiet\thttps://shop.example.com/f\t\tin_stock\t60.00 EUR\t50.00 EUR\t\
2024-04-02T00:00Z/2024-04-09T00:00Z\t\tFans\tSonar\t\tF-1\tnew\t\t\t\t\t\t
"""
FEED = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0">
<channel>
<title>Shop</title><link>https://shop.example.com</link><description>All we have</description>
<item>
<g:id>TV-40</g:id><title>40" LED-Fernseher für Küchen</title><g:title>40" TV</g:title>
<description><![CDATA[<p>Ein <b>kluges</b> Gerät</p>]]></description>
<link>https://shop.example.com/tv</link><g:price>279.00 EUR</g:price><g:brand>Sonar</g:brand>
<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>
<g:shipping><g:country>AT</g:country><g:price>9.90 EUR</g:price></g:shipping>
<g:product_type>TV &gt; LED</g:product_type><g:color>Black</g:color>
</item>
<item>
<g:id>KETTLE</g:id><g:title>Wasserkocher</g:title><description>1,7 l</description>
<link>https://shop.example.com/k</link><g:price>39.00 EUR</g:price>
<g:availability>in_stock</g:availability>
</item>
</channel>
</rss>
"""
ATOM_WITH_ATTRIBUTES = """\
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><g:id>A-1</g:id><title type="text">Pan</title>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Of iron.</p><p>Heavy.</p></div>
</content>
<link rel="alternate" href="https://shop.example.com/a"/>
<g:price currency="EUR">19.99</g:price>
<g:product_highlight>No coating</g:product_highlight>
<g:product_highlight>For induction</g:product_highlight>
</entry>
</feed>
"""
ATOM = """\
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>Shop</title>
<entry><g:id>A-1</g:id><title>Chair</title><summary>Of oak</summary>
<link href="https://shop.example.com/a"/><g:price>80.00 EUR</g:price></entry>
</feed>
"""
AT = datetime(2024, 3, 27, 12, tzinfo=UTC)


def ingested(folder: Path, name: str, content: str, shop_format: str, **declared: Any) -> Warehouse:
    """A warehouse with the export, as its file was written on 27 March 2024, curated."""
    file = folder / name
    file.write_bytes(content.encode(declared.pop("written_in", "utf-8")))
    os.utime(file, (AT.timestamp(), AT.timestamp()))
    warehouse = Warehouse(folder / "warehouse.duckdb")
    warehouse.create_schema()
    ingest_source(warehouse, source_of(file, format=shop_format, **declared), fingerprint="")
    curate_listings(warehouse, price_minimum=0.5, price_maximum=9_999, fingerprint="")
    return warehouse


def prices(warehouse: Warehouse) -> dict[str, float]:
    return {row["listing_id"]: row["price"] for row in kept(warehouse)}


def texts(warehouse: Warehouse) -> str:
    return "\n".join(f"{row['text']} {row['attributes']}" for row in kept(warehouse))


def reasons(warehouse: Warehouse) -> list[str]:
    found = warehouse.frame(
        "SELECT unreadable FROM raw.listings WHERE unreadable IS NOT NULL ORDER BY row_number"
    )
    return found["unreadable"].to_list()


def attributes_of(row: dict[str, Any]) -> dict[str, str]:
    found = row["attributes"]
    if isinstance(found, list):
        return {entry["key"]: entry["value"] for entry in found}
    return dict(found)


def test_a_variant_of_shopify_takes_what_its_product_says(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "products_export.csv", SHOPIFY, "shopify", currency="EUR")
    assert prices(warehouse) == {
        "linen-shirt/White/S": 49.90,
        "linen-shirt/White/M": 49.90,
        "linen-shirt/Blue/M": 54.90,
        "oak-board/Default Title": 24.0,
    }
    rows = kept(warehouse)
    assert [row["title"] for row in rows] == ["Linen Shirt"] * 3 + ["Oak Board"]
    assert all("Woven in Portugal." in row["text"] for row in rows[:3])
    assert {row["brand"] for row in rows[:3]} == {"Nordwind"}
    assert attributes_of(rows[2]) | {"Color": "Blue", "Size": "M"} == attributes_of(rows[2])
    assert attributes_of(rows[2])["material"] == "Linen"
    assert "Title" not in attributes_of(rows[3])


def test_shopify_costs_and_other_prices_reach_no_text(tmp_path: Path) -> None:
    found = texts(ingested(tmp_path, "products_export.csv", SHOPIFY, "shopify", currency="EUR"))
    for other in ("18.2", "18.9", "9.5", "55", "69.9", "27.0"):
        assert other not in found


def test_a_picture_row_of_shopify_is_told_as_one(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "products_export.csv", SHOPIFY, "shopify", currency="EUR")
    assert refused(warehouse) == {4: "unreadable"}
    assert reasons(warehouse) == ["a picture of a product, and no variant"]


def test_the_newer_headings_of_shopify_are_read(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "products.csv", SHOPIFY_NOW, "shopify")
    assert prices(warehouse) == {"oak-board/Small": 24.0, "oak-board/Large": 31.0}
    assert all("Oiled by hand." in row["text"] for row in kept(warehouse))
    assert refused(warehouse) == {3: "unreadable"}
    assert "12.5" not in texts(warehouse)


def test_a_variation_of_woocommerce_takes_what_its_parent_says(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "wc-product-export.csv", WOOCOMMERCE, "woocommerce")
    blue, grey, towel, _ = kept(warehouse)
    for mug in (blue, grey):
        assert "Thrown by hand." in mug["text"]
        assert mug["category"] == "Kitchen > Mugs"
        assert attributes_of(mug)["Material"] == "Clay"
    assert attributes_of(blue)["Colour"] == "Blue"
    assert attributes_of(grey)["Colour"] == "Grey"
    assert towel["category"] == "Bath, Linen > Towels"


@pytest.mark.parametrize(("parent", "described"), [("id:15", "a mug"), ("15", "a hammer")])
def test_the_sku_of_one_product_may_be_the_id_of_another(
    tmp_path: Path, parent: str, described: str
) -> None:
    export = f"""\
ID,Type,SKU,Name,Description,Regular price,Categories,Parent
9,simple,15,Hammer,a hammer,12.00,Tools,
15,variable,MUG,Mug,a mug,,Mugs,
16,variation,MUG-B,Mug - Blue,,18.00,,{parent}
"""
    warehouse = ingested(tmp_path, "wc-product-export.csv", export, "woocommerce")
    assert [row["description"] for row in kept(warehouse)] == ["a hammer", described]


def test_a_sale_of_woocommerce_counts_while_it_lasts(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "wc-product-export.csv", WOOCOMMERCE, "woocommerce")
    # 46 is on sale without an end, 47 in March, 48 from April.
    assert prices(warehouse) == {"45": 18.0, "46": 15.5, "47": 9.0, "48": 4.5}
    assert reasons(warehouse) == [
        "a variable product, which has no price of its own",
        "a grouped product, which has no price of its own",
        "the dates of its sale can be read in no or in two ways",
    ]
    assert "6.1" not in texts(warehouse)


def test_line_breaks_of_woocommerce_are_no_letters(tmp_path: Path) -> None:
    written = WOOCOMMERCE.replace(",Mild.,", ",Mild.\\nPure.,")
    warehouse = ingested(tmp_path, "wc-product-export.csv", written, "woocommerce")
    assert "Mild. Pure." in texts(warehouse)
    assert "\\n" not in texts(warehouse)


def test_a_feed_for_google_is_read_with_quotes_sales_and_currencies(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "feed.tsv", GOOGLE, "google_merchant", currency="EUR")
    assert prices(warehouse) == {"TV-40": 279.0, "KETTLE": 39.0, "FAN": 60.0}
    assert refused(warehouse) == {3: "price_in_other_currency"}
    found = texts(warehouse)
    assert "180" not in found
    assert "margin" not in found
    assert "4.90" not in found
    assert kept(warehouse)[0]["category"] == "TV > LED"


@pytest.mark.parametrize("written_in", ["iso-8859-1", "utf-16"])
def test_an_xml_feed_is_read_in_its_encoding(tmp_path: Path, written_in: str) -> None:
    warehouse = ingested(
        tmp_path, "feed.xml", FEED, "google_merchant", currency="EUR", written_in=written_in
    )
    assert prices(warehouse) == {"TV-40": 279.0, "KETTLE": 39.0}
    tv, kettle = kept(warehouse)
    assert tv["title"] == '40" LED-Fernseher für Küchen'
    assert "Ein kluges Gerät" in tv["text"]
    assert kettle["title"] == "Wasserkocher"
    assert attributes_of(tv)["color"] == "Black"
    assert "9.90" not in texts(warehouse)


def rows_of(file: Path) -> list[dict[str, Any]]:
    layout = file_layout(file, DeclaredLayout())
    read = [row for batch in row_batches(file, layout) for row in batch["line"].to_pylist()]
    return [json.loads(line) for line in read]


def test_a_feed_is_read_whose_elements_end_in_another_block_than_they_began(tmp_path: Path) -> None:
    text = "An iron pan. " * 40
    items = "".join(
        f"<item><g:id>{at}</g:id><g:title>Pan {at}</g:title><g:description>{text}</g:description>"
        f"<g:price>{at + 1}.50 EUR</g:price></item>"
        for at in range(300)
    )
    file = tmp_path / "feed.xml"
    google = "http://base.google.com/ns/1.0"
    file.write_text(f'<rss xmlns:g="{google}"><channel>{items}</channel></rss>', encoding="utf-8")
    rows = rows_of(file)
    assert [row["g:title"] for row in rows] == [f"Pan {at}" for at in range(300)]
    assert all(row["g:description"] == text.strip() for row in rows)


def test_an_atom_feed_is_read_even_with_one_entry(tmp_path: Path) -> None:
    warehouse = ingested(tmp_path, "feed.xml", ATOM, "google_merchant", currency="EUR")
    assert prices(warehouse) == {"A-1": 80.0}
    assert kept(warehouse)[0]["url"] == "https://shop.example.com/a"
    assert "Of oak" in kept(warehouse)[0]["text"]


def test_attributes_of_elements_stand_beside_their_texts(tmp_path: Path) -> None:
    warehouse = ingested(
        tmp_path, "feed.xml", ATOM_WITH_ATTRIBUTES, "google_merchant", currency="EUR"
    )
    (pan,) = kept(warehouse)
    assert (pan["title"], pan["price"]) == ("Pan", 19.99)
    assert pan["description"] == "Of iron. Heavy. No coating; For induction"
    assert pan["url"] == "https://shop.example.com/a"


def test_what_elements_of_a_row_become(tmp_path: Path) -> None:
    file = tmp_path / "shop.xml"
    file.write_text(
        """<shop>
        <product sku="7"><name lang="en">Pan</name><price currency="USD">19.99</price>
        <price currency="EUR">18.99</price><image src="a.jpg"/><tag/><tag>new</tag>
        <text>Made of <b>cast</b> iron</text>
        <maker since="1900"><name>Acme</name></maker></product>
        <product sku="8"><size unit="cm"><w>3</w></size><size unit="in"><w>1</w></size></product>
        </shop>""",
        encoding="utf-8",
    )
    assert rows_of(file) == [
        {
            "sku": "7",
            "name": "Pan",
            "name@lang": "en",
            "price": "19.99; 18.99",
            "price@currency": "USD; EUR",
            "image@src": "a.jpg",
            "tag": "new",
            "text": "Made of cast iron",
            "maker": {"since": "1900", "name": "Acme"},
        },
        {"sku": "8", "size": [{"unit": "cm", "w": "3"}, {"unit": "in", "w": "1"}]},
    ]


@pytest.mark.parametrize(
    ("name", "content", "shop_format", "titles"),
    [
        ("p.csv", SHOPIFY, "shopify", ["Linen Shirt"] * 3 + ["Oak Board"]),
        ("w.csv", WOOCOMMERCE, "woocommerce", None),
        ("g.tsv", GOOGLE, "google_merchant", ['40" LED TV', "Kettle", "Lamp", "Fan"]),
        ("g.xml", FEED, "google_merchant", ['40" LED-Fernseher für Küchen', "Wasserkocher"]),
    ],
)
def test_products_to_price_are_read_by_the_format_of_their_source(
    tmp_path: Path, name: str, content: str, shop_format: str, titles: Sequence[str] | None
) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode("iso-8859-1" if name == "g.xml" else "utf-8"))
    source = source_of(file, format=shop_format, currency="EUR")
    items = items_of(read_products(file, source), "EUR")
    if titles is None:
        assert items["title"].to_list()[:2] == ["Stoneware Mug - Blue", "Stoneware Mug - Grey"]
    else:
        assert items["title"].to_list() == list(titles)


def test_why_a_format_refuses_a_product_to_price_is_told_by_row(tmp_path: Path) -> None:
    file = tmp_path / "products_export.csv"
    file.write_text(SHOPIFY, encoding="utf-8")
    products = read_products(file, source_of(file, format="shopify"))
    items_of(products, "EUR")
    picture = "a picture of a product, and no variant"
    assert products.faults == [None, None, None, picture, None]


GERMAN = WOOCOMMERCE.replace("Regular price", "Regulärer Preis")


@pytest.mark.parametrize(
    ("name", "content", "shop_format", "told"),
    [
        ("w.csv", GERMAN, "woocommerce", "'Regular price', from which the format woocommerce"),
        ("s.csv", SHOPIFY.replace("Handle", "Griff"), "shopify", "'Handle' or 'URL handle'"),
        ("g.xml", FEED.replace("g:price", "g:preis"), "google_merchant", "column 'price'"),
    ],
)
def test_headings_that_a_format_needs_are_named(
    tmp_path: Path, name: str, content: str, shop_format: str, told: str
) -> None:
    written_in = "iso-8859-1" if name == "g.xml" else "utf-8"
    with pytest.raises(PlatformError, match=told) as raised:
        ingested(tmp_path, name, content, shop_format, written_in=written_in)
    assert "Export it with English headings" in raised.value.remedy


def test_products_to_price_need_no_heading_of_a_price(tmp_path: Path) -> None:
    file = tmp_path / "w.csv"
    file.write_text(GERMAN, encoding="utf-8")
    source = source_of(file, format="woocommerce")
    assert items_of(read_products(file, source), "EUR").height == 4


@pytest.mark.parametrize("shop_format", ["shopify", "woocommerce", "google_merchant"])
def test_a_shops_format_says_what_it_reads(shop_format: str) -> None:
    headings = source_of(Path("x.csv"), format=shop_format).headings
    assert list(headings) == ["listing_id", "title", "price"]
    assert all(all(names) for names in headings.values())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (FEED[: len(FEED) // 2], "cut off or is no XML"),
        ("<shop><name>Nordwind</name></shop>", "without an element that is repeated"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a><item><d>&b;</d></item></a>', "the XML entity 'b'"),
        (FEED.replace("ISO-8859-1", "klingon"), "'klingon', which is none that is known"),
    ],
)
def test_a_file_that_is_no_feed_is_refused(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "feed.xml"
    file.write_text(content, encoding="iso-8859-1")
    with pytest.raises(PlatformError, match=told):
        count_rows(file, file_layout(file, DeclaredLayout()))


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20).map(
    str.strip
)


@settings(max_examples=50)
@given(rows=st.lists(st.fixed_dictionaries({"g:id": _TEXTS, "t": _TEXTS}), min_size=1, max_size=5))
def test_every_row_of_a_feed_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    items = "".join(
        "<item>" + "".join(f"<{n}>{escape(v)}</{n}>" for n, v in row.items()) + "</item>"
        for row in rows
    )
    file = tmp_path_factory.mktemp("feed") / "feed.xml"
    file.write_text(f'<rss xmlns:g="urn:g"><channel>{items}</channel></rss>', encoding="utf-8")
    assert rows_of(file) == rows


def test_the_samples_have_a_field_for_each_heading() -> None:
    for sample, delimiter in (
        (SHOPIFY, ","),
        (SHOPIFY_NOW, ","),
        (WOOCOMMERCE, ","),
        (GOOGLE, "\t"),
    ):
        quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        rows = list(csv.reader(io.StringIO(sample), delimiter=delimiter, quoting=quoting))
        assert {len(row) for row in rows} == {len(rows[0])}
