"""The product's search as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from core.db import Database
from core.types import Message
from retrieval.embed import Embedder
from retrieval.search import SearchOptions, search


class HybridRetriever(BaseRetriever):
    """
    Find passages by meaning and words; `invoke(question, history=messages)` follows a conversation.

    Each Document's metadata holds the Passage's other fields, among them `rank`, the number
    to cite. An empty list means that nothing is relevant.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    db: Database
    embedder: Embedder
    options: SearchOptions

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        history: Sequence[Message] = (),
    ) -> list[Document]:
        passages = search(
            self.db,
            self.embedder,
            query,
            self.options,
            history=history,
        )
        return [
            Document(
                id=str(passage.chunk_id),
                page_content=passage.body,
                metadata={
                    "rank": passage.rank,
                    "document_id": str(passage.document_id),
                    "uri": passage.uri,
                    "title": passage.title,
                    "heading": passage.heading,
                    "score": passage.score,
                    "similarity": passage.similarity,
                },
            )
            for passage in passages
        ]
