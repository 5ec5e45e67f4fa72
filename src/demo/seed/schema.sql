-- The shop's database. Money is in cents, days are ISO dates of the shop's own calendar.
create table meta (key text primary key, value text not null) without rowid;

create table categories (
  id integer primary key, slug text not null unique, name text not null, blurb text not null,
  hidden integer not null
);
create table products (
  id integer primary key, category_id integer not null references categories,
  slug text not null unique, name text not null, text text not null, art text not null,
  grams integer not null, bulky integer not null,
  axis1 text not null, axis2 text not null
);
create table variants (
  id integer primary key, product_id integer not null references products,
  option1 text not null, option2 text not null, label text not null,
  cents integer not null, stock integer not null check (stock >= 0),
  unique (product_id, option1, option2)
);
create table users (
  id integer primary key, username text not null unique, password text not null,
  name text not null, email text not null, street text not null, postcode text not null,
  city text not null, country text not null, signin text not null unique
);
create table reviews (
  id integer primary key, product_id integer not null references products,
  author text not null, stars integer not null check (stars between 1 and 5),
  title text not null, text text not null, day text not null
);
create index reviews_by_product on reviews (product_id);

create table sessions (
  id text primary key, csrf text not null, user_id integer references users
) without rowid;
create table cart_lines (
  id integer primary key, owner text not null, variant_id integer not null references variants,
  qty integer not null check (qty between 1 and 99), cents integer not null,
  note text not null default '',
  unique (owner, variant_id, note)
);
create table wishlist (
  user_id integer not null references users, product_id integer not null references products,
  primary key (user_id, product_id)
) without rowid;

create table shipping (
  code text primary key, position integer not null, name text not null, promise text not null,
  cents integer not null, max_grams integer not null, bulky integer not null,
  coupons integer not null
) without rowid;
create table coupons (
  code text primary key, percent integer not null, valid_until text not null
) without rowid;
create table drafts (
  session_id text primary key, name text not null, street text not null, postcode text not null,
  city text not null, country text not null, shipping text not null, coupon text not null
) without rowid;
create table orders (
  id integer primary key, user_id integer not null references users, day text not null,
  status text not null, name text not null, street text not null, postcode text not null,
  city text not null, country text not null, shipping text not null references shipping,
  coupon text not null, subtotal integer not null, discount integer not null,
  postage integer not null, total integer not null
);
create table order_lines (
  id integer primary key, order_id integer not null references orders,
  product_id integer not null references products, variant text not null, note text not null,
  qty integer not null, cents integer not null
);
create table deals (
  slug text primary key, position integer not null, product_id integer not null references products,
  percent integer not null, ended integer not null
) without rowid;
create table messages (
  id integer primary key, name text not null, email text not null, topic text not null,
  text text not null, day text not null
);

-- One row per request whose method can write, refused or not.
create table writes (id integer primary key, method text not null, path text not null);

create view listing as
select p.id, p.slug, p.name, p.text, p.art, p.axis1, p.axis2,
       c.slug as category, c.name as category_name,
       (select min(v.cents) from variants v where v.product_id = p.id) as cents,
       (select max(v.cents) from variants v where v.product_id = p.id) as cents_to,
       (select sum(v.stock) from variants v where v.product_id = p.id) as stock,
       coalesce((select round(avg(r.stars) * 10) from reviews r where r.product_id = p.id), 0) as tenths,
       (select count(*) from reviews r where r.product_id = p.id) as reviews
from products p join categories c on c.id = p.category_id
where c.hidden = 0;

-- Carts in words: who is a username or 'guest'.
create view cart as
select coalesce((select u.username from users u where 'user:' || u.id = l.owner), 'guest') as who,
       p.slug as product, v.label as variant, l.qty, l.cents, l.note
from cart_lines l join variants v on v.id = l.variant_id join products p on p.id = v.product_id
order by l.id;
