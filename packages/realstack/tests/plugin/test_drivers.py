"""Any driver and framework through the DSN: what they commit is gone afterwards, their pools stay good."""

import importlib.util

from ..fix_project import Project


def test_sqlalchemy_engines_of_both_kinds_live_through_many_tests(project: Project) -> None:
    project.write(
        test_sqlalchemy="""
        import pytest
        import sqlalchemy
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


        class Base(DeclarativeBase):
            pass


        class User(Base):
            __tablename__ = "users"
            id: Mapped[int] = mapped_column(primary_key=True)
            email: Mapped[str]


        @pytest.fixture(scope="session")
        def engine(postgres_dsn):
            url = postgres_dsn.replace("postgresql://", "postgresql+psycopg://")
            engine = sqlalchemy.create_engine(url, pool_size=3)
            yield engine
            engine.dispose()


        @pytest.fixture
        async def async_engine(postgres_dsn):
            pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
            from sqlalchemy.ext.asyncio import create_async_engine

            engine = create_async_engine(postgres_dsn.replace("postgresql://", "postgresql+asyncpg://"))
            yield engine
            await engine.dispose()


        @pytest.mark.parametrize("turn", range(5))
        def test_sync(engine, turn):
            with Session(engine) as session:
                session.add_all([User(email="a"), User(email="b")])
                session.commit()
                assert [user.id for user in session.query(User).order_by(User.id)] == [1, 2]
                with Session(engine) as other:
                    assert other.query(User).count() == 2


        @pytest.mark.parametrize("turn", range(2))
        async def test_async(async_engine, engine, turn):
            async with async_engine.begin() as connection:
                await connection.execute(sqlalchemy.insert(User).values(email="a"))
            with Session(engine) as other:
                assert [user.id for user in other.query(User)] == [1]


        def test_ddl_of_a_test(engine):
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text("CREATE TABLE extra AS SELECT 1 AS x"))
                connection.execute(sqlalchemy.text("ALTER TABLE users ADD COLUMN age int"))


        def test_after_ddl(postgres_dsn):
            engine = sqlalchemy.create_engine(postgres_dsn.replace("postgresql://", "postgresql+psycopg://"))
            assert sorted(sqlalchemy.inspect(engine).get_table_names()) == ["orders", "plans", "users"]
            assert "age" not in [column["name"] for column in sqlalchemy.inspect(engine).get_columns("users")]
            engine.dispose()


        def test_the_engine_recovers_after_ddl(engine):
            try:
                engine.connect().close()
                with engine.connect() as connection:
                    connection.execute(sqlalchemy.text("SELECT 1"))
            except sqlalchemy.exc.OperationalError:  # the one connection that was cut; the pool drops it
                pass
            with Session(engine) as session:
                assert session.query(User).count() == 0
        """
    )

    result = project.run_pytest()

    without_greenlet = 0 if importlib.util.find_spec("greenlet") else 2
    result.assert_outcomes(passed=10 - without_greenlet, skipped=without_greenlet)
    assert "leak" not in result.stdout.str()


def test_raw_drivers_in_threads_and_processes_see_what_the_test_committed(project: Project) -> None:
    project.write(
        test_raw="""
        import asyncio
        import concurrent.futures
        import subprocess
        import sys

        import asyncpg
        import psycopg
        import pytest

        COUNT = "SELECT count(*) FROM users"
        CHILD = "import psycopg, sys; print(psycopg.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])"


        def count(dsn):
            with psycopg.connect(dsn) as connection:
                return connection.execute(COUNT).fetchone()[0]


        def in_another_process(dsn):
            return int(subprocess.check_output([sys.executable, "-c", CHILD, dsn, COUNT]))


        @pytest.mark.parametrize("turn", range(2))
        async def test_everywhere(real_postgres, postgres_dsn, turn):
            assert await asyncio.to_thread(in_another_process, postgres_dsn) == 0
            await real_postgres.execute("INSERT INTO users (email) VALUES ('a'), ('b')")
            connection = await asyncpg.connect(postgres_dsn)
            assert await connection.fetchval(COUNT) == 2
            await connection.close()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                assert list(pool.map(count, [postgres_dsn] * 8)) == [2] * 8
            async with await psycopg.AsyncConnection.connect(postgres_dsn) as connection:
                assert await (await connection.execute(COUNT)).fetchone() == (2,)
            assert await asyncio.to_thread(in_another_process, postgres_dsn) == 2
        """
    )

    project.run_pytest().assert_outcomes(passed=2)
