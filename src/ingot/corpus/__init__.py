"""Text corpora: raw text to token shards, and token shards to training batches."""

from ingot.corpus.build.build import build_corpus, list_sources, sources_fingerprint
from ingot.corpus.build.compression_baseline import compressed_bits_per_byte
from ingot.corpus.build.mixing import parse_mix
from ingot.corpus.build.progress import Progress
from ingot.corpus.build.staging import stopped_build
from ingot.corpus.build.unique_documents import iter_documents
from ingot.corpus.config import CorpusConfig, corpus_settings, make_config
from ingot.corpus.reading.documents import Document
from ingot.corpus.reading.files import FileList
from ingot.corpus.reading.report import ReadReport, Reason
from ingot.corpus.sampling.prefetch import PrefetchingSampler
from ingot.corpus.sampling.sampler import Sampler
from ingot.corpus.sampling.segments import segments_of
from ingot.corpus.store.corpus import Corpus, open_corpus
from ingot.corpus.store.manifest import CorpusManifest
from ingot.corpus.store.shards import Part, Shard, TokenStore

__all__ = [
    "Corpus",
    "CorpusConfig",
    "CorpusManifest",
    "Document",
    "FileList",
    "Part",
    "PrefetchingSampler",
    "Progress",
    "ReadReport",
    "Reason",
    "Sampler",
    "Shard",
    "TokenStore",
    "build_corpus",
    "compressed_bits_per_byte",
    "corpus_settings",
    "iter_documents",
    "list_sources",
    "make_config",
    "open_corpus",
    "parse_mix",
    "segments_of",
    "sources_fingerprint",
    "stopped_build",
]
