fn main(){ key_protect_operator::crds::run(&key_protect_operator::crds::CrdsArgs{dir:std::env::args().nth(1).map(Into::into)}).unwrap(); }
