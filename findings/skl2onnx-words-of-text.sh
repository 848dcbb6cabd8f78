#!/bin/sh
# skl2onnx 1.20.0: words of a text are other words in the file than in scikit-learn's TfidfVectorizer.
#
# Guessed: words with letters beyond ASCII, and pairs of words around a single letter, are weighed alike in both.
# Seen: the default pattern of words becomes [a-zA-Z0-9_]+, to which "naïve" is two words and "b" is one, so
# that weights differ by more than 0.5, without a word. The file also asks for the locale en_US.UTF-8 to make
# letters small, which slim container images lack: ONNX Runtime 1.32.0 then does not load it at all.
# What it means here: `register` gives skl2onnx the option tokenexp, [\p{L}\p{N}_]{2,}, and a locale that is
# there everywhere, C or C.UTF-8; then both agree.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"

cat > compare.py <<'PY'
import locale

import numpy as np
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer

onnxruntime.set_default_logger_severity(4)
WORDS = r"[\p{L}\p{N}_]{2,}"


def outcome(texts, ngrams, **options):
    vectorizer = TfidfVectorizer(ngram_range=ngrams).fit(texts)
    model = convert_sklearn(
        vectorizer,
        initial_types=[("text", StringTensorType([None, 1]))],
        options={id(vectorizer): options},
    )
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        return "not loaded, for its locale" if "locale" in str(error) else "not loaded"
    found = session.run(None, {"text": np.array(texts)[:, None]})[0]
    off = np.abs(found - vectorizer.transform(texts).toarray()).max()
    return "agrees" if off < 1e-5 else "differs by more than 0.5" if off > 0.5 else "differs"


try:
    locale.setlocale(locale.LC_ALL, "en_US.UTF-8")
    print("en_US.UTF-8 is installed here: its own outcome is not shown")
except locale.Error:
    print(f"plain words, as it comes     {outcome(['plan now', 'no plan'], (1, 1))}")
for name, texts, ngrams in [
    ("plain words", ["plan now", "no plan"], (1, 1)),
    ("letters beyond ASCII", ["naïve café", "nave caf"], (1, 1)),
    ("pairs around a letter", ["plan b now", "plan now"], (1, 2)),
]:
    print(f"{name:28} {outcome(texts, ngrams, locale='C.UTF-8')}")
    print(f"{name + ', set':28} {outcome(texts, ngrams, locale='C.UTF-8', tokenexp=WORDS)}")
PY
seen=$(venv/bin/python compare.py 2>/dev/null)
echo "$seen"
wanted='plain words                  agrees
plain words, set             agrees
letters beyond ASCII         differs by more than 0.5
letters beyond ASCII, set    agrees
pairs around a letter        differs by more than 0.5
pairs around a letter, set   agrees'
rest=$(echo "$seen" | tail -n 6)
first=$(echo "$seen" | head -n 1)
[ "$rest" = "$wanted" ] || { echo "This has changed." >&2; exit 1; }
case $first in
    *'not loaded, for its locale' | 'en_US.UTF-8 is installed'*) ;;
    *) echo "This has changed." >&2; exit 1 ;;
esac
