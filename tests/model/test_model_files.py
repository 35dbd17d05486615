import hashlib
import struct

import pytest

from distbp.errors import RunError
from distbp.files.json_files import read_json, write_json
from distbp.files.tensors import write_tensors
from distbp.model.files import load_model, save_model, weights_sha256
from distbp.model.network import Network

FILES = ("model.json", "model.safetensors")
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def saved(tmp_path):
    """Save a small classifier; return its folder and the network."""
    network = Network((3, 4, 2), "tanh", classes=("no", "yes"), seed=1)
    network.save(tmp_path / "model")
    return tmp_path / "model", network


def replace_in(folder, **changed):
    write_json(folder / "model.json", read_json(folder / "model.json") | changed)


@dtypes
@pytest.mark.parametrize(
    ("sizes", "output", "cost", "classes"),
    [
        ((3, 2), "softmax", "cross-entropy", ("a", "b")),
        ((5, 7, 6, 1), "identity", "mse", ()),
        ((3, 4, 1), "sigmoid", "binary-cross-entropy", (False, True)),
        ((3, 4, 3), "softmax", "cross-entropy", (-1, 0, 7)),
    ],
)
def test_loaded_model_equals_the_saved_one_bit_for_bit(sizes, output, cost, classes, dtype, tmp_path):
    network = Network(sizes, output=output, cost=cost, classes=classes, dtype=dtype, seed=2)
    network.save(tmp_path / "new" / "folder")
    loaded = Network.load(tmp_path / "new" / "folder")
    assert loaded.structure == network.structure
    assert loaded.weights.dtype == dtype
    assert loaded.weights.tobytes() == network.weights.tobytes()
    assert loaded.classes == classes


def test_saving_again_replaces_the_model(saved):
    folder, _ = saved
    other = Network((3, 2), seed=5)
    other.save(folder)
    assert Network.load(folder).weights.tobytes() == other.weights.tobytes()
    assert sorted(path.name for path in folder.iterdir()) == list(FILES)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(name, saved):
    folder, _ = saved
    (folder / name).unlink()
    with pytest.raises(RunError, match=name):
        Network.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_refused_at_every_length(name, saved):
    folder, _ = saved
    whole = (folder / name).read_bytes().rstrip(b"\n")
    for length in range(len(whole)):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(RunError, match=name):
            Network.load(folder)


def test_json_with_any_damaged_byte_is_refused(saved):
    folder, _ = saved
    whole = (folder / "model.json").read_bytes()
    for place in range(len(whole)):
        (folder / "model.json").write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        with pytest.raises(RunError, match=r"model.json cannot be read"):
            Network.load(folder)


def test_safetensors_with_any_damaged_byte_in_its_header_is_refused(saved):
    folder, _ = saved
    whole = (folder / "model.safetensors").read_bytes()
    for place in range(8 + struct.unpack("<Q", whole[:8])[0]):
        (folder / "model.safetensors").write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        with pytest.raises(RunError, match="model"):
            Network.load(folder)


def test_body_longer_than_the_header_states_is_refused(saved):
    folder, _ = saved
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        Network.load(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"sizes": [3, 5, 2]},
        {"sizes": [3, 4]},
        {"sizes": [3, 4, 2, 2], "activations": ["tanh", "tanh", "softmax"]},
        {"sizes": [3.0, 4.0, 2.0]},
        {"sizes": ["3", "4", "2"]},
        {"sizes": None},
        {"sizes": [10**10, 10**10, 2]},
        {"sizes": [10**7, 10**7, 2]},
        {"activations": ["tanhh", "softmax"]},
        {"activations": [["tanh"], "softmax"]},
        {"cost": "mean"},
        {"classes": ["no"]},
        {"classes": ["no", "yes", "maybe"]},
        {"classes": 3},
        {"classes": None},
    ],
)
def test_inconsistent_files_are_refused(changed, saved):
    folder, _ = saved
    replace_in(folder, **changed)
    with pytest.raises(RunError, match="model"):
        Network.load(folder)


@pytest.mark.parametrize("dtype", ["int32", "float16", "bool"])
def test_weights_of_unknown_type_are_refused(dtype, saved):
    folder, network = saved
    pairs = enumerate(network.structure.layers(network.weights.astype(dtype)), start=1)
    tensors = {name: part for l, (w, b) in pairs for name, part in ((f"w{l}", w), (f"b{l}", b))}
    write_tensors(folder / "model.safetensors", tensors)
    with pytest.raises(RunError, match="do not fit"):
        Network.load(folder)


@pytest.mark.parametrize(("found", "message"), [({"format": 2}, "format 2"), ({"format": None}, "format null")])
def test_model_of_another_format_is_refused(found, message, saved):
    folder, _ = saved
    replace_in(folder, **found)
    with pytest.raises(RunError, match=f"model.json cannot be read: found {message}, this version of distbp reads 1"):
        Network.load(folder)


def test_json_that_is_not_an_object_is_refused(saved):
    folder, _ = saved
    (folder / "model.json").write_text("[1]")
    with pytest.raises(RunError, match="expected a JSON object"):
        Network.load(folder)


def test_folder_that_cannot_be_created_is_refused(saved):
    folder, network = saved
    with pytest.raises(RunError, match="cannot be made"):
        network.save(folder / "model.json" / "below")


def test_classes_and_units_are_saved_with_the_structure(saved, tmp_path):
    _, network = saved
    save_model(tmp_path / "other", network.structure, network.weights, {"classes": ["x", "y"], "note": "n"})
    assert load_model(tmp_path / "other")[2].items() >= {"classes": ["x", "y"], "note": "n"}.items()


@dtypes
def test_weights_sha256_covers_the_little_endian_bytes_in_layer_order(dtype, saved):
    weights = Network((3, 4, 2), seed=1, dtype=dtype).weights
    (w1, b1), (w2, b2) = Network((3, 4, 2), seed=1).structure.layers(weights)
    hashed = hashlib.sha256()
    for part in (w1, b1, w2, b2):
        code = {"float32": "f", "float64": "d"}[dtype]
        hashed.update(struct.pack(f"<{part.size}{code}", *part.ravel().tolist()))
    assert weights_sha256(weights) == hashed.hexdigest()
    assert weights_sha256(weights.astype(weights.dtype.newbyteorder(">"))) == hashed.hexdigest()
