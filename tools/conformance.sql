-- What users of PostgreSQL and DuckDB try first, one statement a line, by title; tables first.

-- tables
CREATE TABLE pay ( id BIGINT PRIMARY KEY, dept TEXT, town TEXT, score INTEGER, age SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 120), salary INTEGER ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 1000000), bonus INTEGER ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 1000), grade TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C'), badge TEXT ENCRYPTED WITH (QUERIES = 'eq'), name TEXT ENCRYPTED WITH (QUERIES = 'prefix(8)'), born DATE ENCRYPTED WITH (QUERIES = 'range'), rate DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'eq,range,sum'), notes TEXT ENCRYPTED)
CREATE TABLE depts (code TEXT PRIMARY KEY, title TEXT, floor SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 50))
INSERT INTO depts VALUES ('R&D', 'Research', 3), ('Ops', 'Operations', 1)
INSERT INTO pay VALUES (1, 'R&D', 'Ulm', 5, 44, 81000, 10, 'B', 'b1', 'Ada', '1980-05-17', 1.25, 'x')

-- Selecting
SELECT * FROM pay
SELECT id, age + 1 FROM pay
SELECT id, salary * 2 - bonus AS net FROM pay WHERE age > 40
SELECT DISTINCT dept FROM pay
SELECT DISTINCT ON (dept) id FROM pay
SELECT count(*) FROM pay AS p WHERE p.age > 40
SELECT 1 + 1
SELECT upper(dept) FROM pay
SELECT CASE WHEN age > 40 THEN 'old' ELSE 'young' END FROM pay
SELECT id FROM pay UNION SELECT id FROM pay
SELECT row_number() OVER (ORDER BY id) FROM pay
SELECT coalesce(dept, '-') FROM pay

-- Conditions over encrypted columns
SELECT count(*) FROM pay WHERE age = 44
SELECT count(*) FROM pay WHERE age <> 44
SELECT count(*) FROM pay WHERE age < 40.5
SELECT count(*) FROM pay WHERE age BETWEEN 30 AND 40
SELECT count(*) FROM pay WHERE age NOT IN (1, 2, NULL)
SELECT count(*) FROM pay WHERE age IS NULL
SELECT count(*) FROM pay WHERE NOT (age > 40 OR grade = 'A') AND dept = 'R&D'
SELECT count(*) FROM pay WHERE age > PUBLIC(40)
SELECT count(*) FROM pay WHERE badge = 'b1'
SELECT count(*) FROM pay WHERE badge < 'b1'
SELECT count(*) FROM pay WHERE name LIKE 'Ad%'
SELECT count(*) FROM pay WHERE name LIKE '%da'
SELECT count(*) FROM pay WHERE born >= DATE '1980-01-01' + INTERVAL '1' YEAR
SELECT count(*) FROM pay WHERE age < salary
SELECT count(*) FROM pay WHERE age + 1 > 40
SELECT count(*) FROM pay WHERE notes = 'x'
SELECT count(*) FROM pay WHERE age = ANY (SELECT 44)
SELECT count(*) FROM pay WHERE salary > (SELECT avg(salary) FROM pay)
SELECT count(*) FROM pay WHERE EXISTS (SELECT 1 FROM depts)
SELECT count(*) FROM pay WHERE age IN (SELECT floor FROM depts)

-- Conditions over public columns
SELECT count(*) FROM pay WHERE dept = 'R&D' OR dept IS NULL
SELECT count(*) FROM pay WHERE dept LIKE 'R%' AND town NOT LIKE '%x_'
SELECT count(*) FROM pay WHERE dept ILIKE 'r%'
SELECT count(*) FROM pay WHERE score + 1 > 3
SELECT count(*) FROM pay WHERE score < id

-- Aggregates
SELECT count(*), count(age), sum(salary), avg(salary) FROM pay
SELECT sum(salary * bonus), sum(salary - bonus), sum(salary * (100 - bonus)) FROM pay
SELECT sum(salary) / count(*), 100.0 * sum(bonus) / sum(salary) FROM pay
SELECT sum(CASE WHEN age > 40 THEN salary ELSE 0 END) FROM pay
SELECT sum(salary) FILTER (WHERE age > 40) FROM pay
SELECT count(DISTINCT grade), count(DISTINCT dept) FROM pay
SELECT count(DISTINCT age) FROM pay
SELECT min(age), max(salary) FROM pay
SELECT median(salary), quantile_disc(age, 0.9), quantile_cont(rate, 0.25) FROM pay
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY salary) FROM pay
SELECT min(dept), max(id) FROM pay
SELECT stddev(salary) FROM pay
SELECT sum(age) FROM pay
SELECT string_agg(dept, ',') FROM pay

-- Groups, order, limits
SELECT grade, count(*) FROM pay GROUP BY grade
SELECT dept, grade, sum(salary) FROM pay WHERE age > 40 GROUP BY dept, grade
SELECT age, count(*) FROM pay GROUP BY age
SELECT grade, sum(salary) FROM pay GROUP BY grade HAVING sum(salary) > 10
SELECT grade, max(age) FROM pay GROUP BY grade
SELECT dept, count(*) FROM pay GROUP BY ROLLUP (dept)
SELECT id FROM pay ORDER BY salary DESC, id LIMIT 3 OFFSET 1
SELECT id FROM pay ORDER BY dept NULLS FIRST
SELECT dept, count(*) AS n FROM pay GROUP BY 1 ORDER BY n DESC

-- Joins, subqueries
SELECT p.id, d.title FROM pay p JOIN depts d ON p.dept = d.code
SELECT d.title, sum(p.salary) FROM pay p JOIN depts d ON p.dept = d.code WHERE p.age > 40 GROUP BY d.title
SELECT count(*) FROM pay, depts WHERE pay.dept = depts.code AND depts.floor > 2
SELECT count(*) FROM pay p LEFT JOIN depts d ON p.dept = d.code
SELECT count(*) FROM pay p JOIN depts d ON p.age = d.floor
SELECT count(*) FROM pay p JOIN depts d ON p.age < d.floor
WITH s AS (SELECT dept, sum(salary) AS t FROM pay GROUP BY dept) SELECT max(t) FROM s
SELECT avg(t) FROM (SELECT dept, sum(salary) AS t FROM pay GROUP BY dept) AS s

-- Changing rows
INSERT INTO pay (id, age) VALUES (2, 30), (3, NULL)
INSERT INTO pay (id, age) SELECT id + 100, 5 FROM pay
INSERT INTO pay (id, age) VALUES (2, 31) ON CONFLICT (id) DO UPDATE SET age = EXCLUDED.age
INSERT INTO pay (id, age) VALUES (2, 31) ON CONFLICT DO NOTHING
INSERT OR REPLACE INTO pay (id, age) VALUES (2, 32)
INSERT INTO pay (id) VALUES (9) RETURNING id
UPDATE pay SET salary = salary + 1 WHERE id = 1
UPDATE pay SET dept = 'Ops' WHERE age > 40
DELETE FROM pay WHERE age < 5
DELETE FROM pay
TRUNCATE pay
MERGE INTO pay USING depts ON pay.dept = depts.code WHEN MATCHED THEN DELETE
COPY pay TO 'x.csv'

-- Tables and indexes
CREATE TABLE a1 (k BIGINT PRIMARY KEY, v INTEGER ENCRYPTED WITH (QUERIES = 'eq'))
CREATE TABLE a2 (v INTEGER NOT NULL DEFAULT 5)
CREATE TABLE a3 (k BIGINT PRIMARY KEY, v INTEGER ENCRYPTED) WITH (DEPTH = 'deep')
CREATE TABLE a4 (k BIGINT PRIMARY KEY ENCRYPTED)
CREATE TABLE a5 (k BIGINT PRIMARY KEY, p SMALLINT ENCRYPTED WITH (QUERIES = 'sum'), q INTEGER GENERATED ALWAYS AS (p * 2) STORED ENCRYPTED WITH (QUERIES = 'sum'))
CREATE TABLE a6 (k BIGINT PRIMARY KEY, t TIMESTAMP, b BLOB)
CREATE TABLE a7 (k BIGINT PRIMARY KEY, f DOUBLE)
CREATE TABLE a8 (k BIGINT REFERENCES pay (id))
CREATE TABLE a9 AS SELECT * FROM pay
CREATE VIEW v1 AS SELECT * FROM pay
CREATE INDEX by_dept ON pay (dept)
CREATE UNIQUE INDEX by_score ON pay (score)
CREATE INDEX by_age ON pay (age)
CREATE INDEX by_two ON pay (dept, town)
DROP INDEX by_dept
ALTER TABLE pay ADD COLUMN extra SMALLINT ENCRYPTED WITH (QUERIES = 'eq') DEFAULT 5
ALTER TABLE pay RENAME COLUMN extra TO more
ALTER TABLE pay ALTER COLUMN more ADD QUERY sum
ALTER TABLE pay ALTER COLUMN more DROP QUERY sum
ALTER TABLE pay ALTER COLUMN age SET MAX 150
ALTER TABLE pay ALTER COLUMN age SET MAX 50
ALTER TABLE pay ALTER COLUMN grade ADD VALUE 'D'
ALTER TABLE pay DROP COLUMN more
ALTER TABLE pay ALTER COLUMN age TYPE BIGINT
ALTER TABLE depts RENAME TO departments
VACUUM pay
VACUUM ERASE pay
DROP TABLE departments

-- Sessions
EXPLAIN SELECT count(*) FROM pay WHERE age > 40
EXPLAIN ANALYZE SELECT count(*) FROM pay WHERE age > 40
EXPLAIN (FORMAT json) UPDATE pay SET salary = 1 WHERE age > 40
EXPLAIN INSERT INTO pay (id) VALUES (77)
EXPLAIN DROP TABLE pay
BEGIN
INSERT INTO pay (id, age) VALUES (500, 50)
COMMIT
SELECT id FROM pay WHERE age > 40 FETCH PADDED
SET x = 1
