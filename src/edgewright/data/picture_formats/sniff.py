"""What a file is by its first bytes, whatever its name says."""

# Where a signature lies, the signature, and what the file then is. The first five are read; the others are named to whoever meant them.
SIGNATURES = (
    (0, b"\xff\xd8", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),
    (0, b"MM\x00+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "a GIF"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftypavis", "an AVIF"),
    (4, b"ftyphei", "an HEIC"),
    (4, b"ftyphev", "an HEIC"),
    (4, b"ftypmif1", "an HEIC or AVIF"),
    (4, b"ftyp", "a video"),
    (0, b"v/1\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"#?RGBE", "a Radiance HDR"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer"),
)
READ = ("JPEG", "PNG", "BMP", "TIFF", "WebP")
PORTABLE = b"1234567Ff"  # P1 to P7, PF and Pf: bitmaps, grey maps, pixel maps, float maps
TEXT = frozenset(b"\t\n\r" + bytes(range(32, 127)))


def format_of(content: bytes) -> str:
    """One of `READ`, or what it is instead, with its article: "a GIF", "text", "bytes of no format we know"."""
    if not content:
        return "an empty file"
    for offset, signature, name in SIGNATURES:
        if content.startswith(signature, offset):
            return name
    if len(content) > 2 and content[:1] == b"P" and content[1] in PORTABLE and content[2] in b" \t\r\n#":
        return "a Netpbm picture"
    return "text" if TEXT.issuperset(content[:512]) else "bytes of no format we know"
