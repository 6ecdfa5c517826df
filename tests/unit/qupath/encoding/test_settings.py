import io

import pytest

from qpbridge.qupath.encoding.image_data import ImageDetails, write_qpdata
from qpbridge.qupath.encoding.settings import ImageSettings, read_settings

TYPES = {"1": "BRIGHTFIELD_H_E", "2": "BRIGHTFIELD_H_DAB", "4": "OTHER", "5": "FLUORESCENCE"}


@pytest.mark.parametrize("version", ["0.5.1", "0.6.0", "0.7.0"])
@pytest.mark.parametrize("entry_id", TYPES)
def test_type_and_stains_of_qupaths_images_are_read(data_dir, version, entry_id):
    found = read_settings(data_dir / "made" / f"qp-{version}" / "project" / "data" / entry_id / "data.qpdata")

    assert found.image_type == TYPES[entry_id]
    assert (found.stains is not None) == found.image_type.startswith("BRIGHTFIELD_H_")
    assert found.stains is None or found.stains.startswith('{"Name" : "H')


def test_what_is_written_is_read_again(tmp_path):
    out = io.BytesIO()
    image = ImageDetails(server_json="{}", root_id="1", image_type="BRIGHTFIELD_OTHER", stains='{"Name" : "é"}')
    write_qpdata(out, image, (), ())
    (tmp_path / "data.qpdata").write_bytes(out.getvalue())

    assert read_settings(tmp_path / "data.qpdata") == ImageSettings(
        image_type="BRIGHTFIELD_OTHER", stains='{"Name" : "é"}'
    )


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_of_other_files_nothing_is_known(tmp_path, content):
    if content is not None:
        (tmp_path / "data.qpdata").write_bytes(content)

    assert read_settings(tmp_path / "data.qpdata") == ImageSettings()
