-- Whether another installation was quicker, asked under the lock. Names are not resolved for it: the server would
-- answer from what it knew when this transaction began.
SELECT EXISTS (
    SELECT FROM pg_class WHERE relname = 'holdfast_effects' AND relnamespace = current_schema()::regnamespace
);
