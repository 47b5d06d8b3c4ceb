"""Trains the tiny tokenizer of the tests, in the manner of Gemma's.

    python tests/data/make_tokenizer.py

writes tiny_tokenizer.model (sentencepiece) and tiny_tokenizer.json (Hugging Face), two
files of one vocabulary, beside this script. Needs `tokenizers`, to check the second.
Last run on 2026-11-21 with sentencepiece 0.2.3 and tokenizers 0.23.3.
"""

import io
import json
from pathlib import Path

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2 as model_pb2

HERE = Path(__file__).parent
VOCAB_SIZE = 480
SPACE = "▁"

CONTROL = ["<mask>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"]
WHITESPACE = ["\n" * n for n in range(1, 5)] + [SPACE * n for n in range(2, 9)]

TEXT = """
A small model reads the words of the garden: the gate, the path, the old apple tree.
The rain is on the roof again, and the house is listening to the rain.
She said that the answer was in the question, and that the question was hers.
Where there is a river there is a road; where there is a road there is an inn.
Nothing is said twice here, and nothing that is said here is said in haste.
The children counted the stars until the stars were more than the numbers they had.
What do you see? A hill, another hill, and the sea behind the hills.
In the morning the baker opens the shop, and in the evening the baker closes it.
Der Garten ist still, und die Kinder zählen die Äpfel unter dem alten Baum.
Le matin, la rivière est froide ; le soir, elle garde la chaleur des pierres.
La casa está cerca del río, y el río está cerca de la casa del panadero.
Дождь идёт над садом, и дом слушает дождь. Дети считают звёзды.
Ο κήπος είναι ήσυχος και τα παιδιά μετρούν τα αστέρια.
庭の門は開いている。雨が屋根に降る。子どもたちは星を数える。
雨落在屋顶上，孩子们数着星星。河边有一条路，路边有一家店。
정원은 조용하고 아이들은 별을 센다.
المطر فوق البيت والأطفال يعدون النجوم.
बगीचा शांत है और बच्चे तारे गिनते हैं।
def area(width, height): return width * height
for i in range(10): total = total + i * i
{"name": "garden", "trees": [1, 2, 3], "open": true}
"""


def main() -> None:
    model = train()
    (HERE / "tiny_tokenizer.model").write_bytes(model.SerializeToString())
    state = hugging_face_state(model)
    path = HERE / "tiny_tokenizer.json"
    path.write_text(json.dumps(state, ensure_ascii=False, indent=0) + "\n", "utf-8")
    check(model, path)


def train() -> model_pb2.ModelProto:
    """Returns the trained model, without the name of any file in it."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.strip().splitlines()),
        model_writer=trained,
        model_type="bpe",
        vocab_size=VOCAB_SIZE,
        byte_fallback=True,
        character_coverage=0.98,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        control_symbols=CONTROL,
        user_defined_symbols=WHITESPACE,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    return model_pb2.ModelProto.FromString(trained.getvalue())


def hugging_face_state(model: model_pb2.ModelProto) -> dict:
    """Returns what a tokenizer.json of the model holds."""
    vocab = {piece.piece: token_id for token_id, piece in enumerate(model.pieces)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(model),
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": merges(model),
        },
    }


def added_tokens(model: model_pb2.ModelProto) -> list[dict]:
    """Returns the tokens that match before any merge; special are the control ones."""
    kinds = model_pb2.ModelProto.SentencePiece
    special = {kinds.UNKNOWN: True, kinds.CONTROL: True, kinds.USER_DEFINED: False}
    return [
        {
            "id": token_id,
            "content": piece.piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": special[piece.type],
        }
        for token_id, piece in enumerate(model.pieces)
        if piece.type in special
    ]


def merges(model: model_pb2.ModelProto) -> list[list[str]]:
    """Returns all ways to make a piece out of two, the best piece first.

    Runs of whitespace come first, the longest before the others: as in Gemma 3's
    file, whose spaces are merged though they count as added tokens.
    """
    made = [piece.piece for piece in model.pieces]
    scores = {piece.piece: piece.score for piece in model.pieces}
    runs = sorted(filter(WHITESPACE.__contains__, made), key=len, reverse=True)
    normal = model_pb2.ModelProto.SentencePiece.NORMAL
    words = [piece.piece for piece in model.pieces if piece.type == normal]
    words.sort(key=lambda piece: -scores[piece])
    return [
        [piece[:middle], piece[middle:]]
        for piece in runs + words
        for middle in range(1, len(piece))
        if piece[:middle] in scores and piece[middle:] in scores
    ]


def check(model: model_pb2.ModelProto, path: Path) -> None:
    """Raises if the two files do not split the text alike."""
    ours = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    theirs = tokenizers.Tokenizer.from_file(str(path))
    for line in (TEXT, *TEXT.splitlines(), " " * 8, "\n" * 4, "😀 ▁"):
        if ours.encode(line) != theirs.encode(line).ids:
            raise AssertionError(f"The two files disagree about {line!r}.")


if __name__ == "__main__":
    main()
