"""What XMP says of a frame's own file is not said of a result."""

import pytest

from ufafuse.runtime.pictures.xmp import xmp_of_result

HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about=""'
KEPT = b' xmpMM:OriginalDocumentID="xmp.did:0" dc:title="bolt">\n <dc:creator>A person</dc:creator>\n '
TAIL = b"</rdf:Description></rdf:RDF></x:xmpmeta>"
PARENT = b'<xmpMM:DerivedFrom stRef:instanceID="xmp.iid:5" stRef:documentID="xmp.did:5"/>'  # is still true
ATTRIBUTES = (
    b' xmpMM:DocumentID="xmp.did:1"',
    b" xmpMM:InstanceID='xmp.iid:2'",
    b'\n xmpNote:HasExtendedXMP="04B9E48040A30A6308713BD1E4223B41"',
    b' dc:format="image/jpeg"',
    b' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="12345"',
    b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2.1"',
)
ELEMENTS = (
    b"<xmpMM:DocumentID>xmp.did:1</xmpMM:DocumentID>",
    b"<xmpMM:InstanceID>xmp.iid:2</xmpMM:InstanceID>",
    b'<xmp:Thumbnails><rdf:Alt><rdf:li xmpGImg:width="256">/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>',
    b"<dc:format>image/jpeg</dc:format>",
    b'<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Mime="image/jpeg"/></rdf:li></rdf:Seq></Container:Directory>',
    b'<hdrgm:GainMapMax rdf:parseType="Resource"/>',
)


@pytest.mark.parametrize("said", ATTRIBUTES)
def test_what_is_true_of_the_frames_file_alone(said):
    assert xmp_of_result(HEAD + said + KEPT + PARENT + TAIL, (4, 6)) == HEAD + KEPT + PARENT + TAIL


@pytest.mark.parametrize("said", ELEMENTS)
def test_the_same_as_elements(said):
    assert xmp_of_result(HEAD + KEPT + said + PARENT + TAIL, (4, 6)) == HEAD + KEPT + PARENT + TAIL


def test_a_gain_map_that_is_said_in_another_way_costs_the_packet():
    assert (
        xmp_of_result(HEAD + b' xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/" g:Version="1.0"' + KEPT + TAIL, (4, 6)) is None
    )


def test_many_elements_without_ends_take_no_time_to_speak_of():
    packet = b"<dc:format>" * 200_000  # looking for each one's end would take hours
    assert xmp_of_result(packet, (4, 6)) == packet
