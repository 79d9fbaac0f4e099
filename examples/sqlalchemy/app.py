"""A stage with SQLAlchemy: its results and `done` are one commit of your session.

uvicorn app:app --port 8000
"""

import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import ForeignKey, update
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
Session = async_sessionmaker(create_async_engine(url), expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    summary: Mapped[str | None]
    step: Mapped[str]
    status: Mapped[str]


class Word(Base):
    __tablename__ = "words"
    id: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[int] = mapped_column(ForeignKey("documents.id"))
    word: Mapped[str]


class Call(BaseModel):
    job_id: str


def at(job: int, step: str, status: str):
    """The compare of the compare-and-set: only a row that is there."""
    return update(Document).where(Document.id == job, Document.step == step, Document.status == status)


@app.post("/summarise")
async def summarise(call: Call):
    job = int(call.job_id)
    async with Session.begin() as db:
        begin = at(job, "upload", "done").values(step="summarise", status="running").returning(Document.body)
        body = await db.scalar(begin)
        if body is None:
            raise HTTPException(409, "the job is not ready")
    summary = body[:20]  # the work, with no transaction open
    async with Session.begin() as db:
        db.add_all(Word(document=job, word=word) for word in summary.split())
        ended = await db.execute(at(job, "summarise", "running").values(summary=summary, status="done"))
        if ended.rowcount != 1:
            raise HTTPException(409, "the job moved on")  # leaves the block: the words are rolled back, too
    return {"summary": summary}
