//! Dice that fall the same for the same seed (splitmix64).

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, among: &[&'a T]) -> &'a T {
        among[self.below(among.len())]
    }

    pub(crate) fn bytes(&mut self, up_to: usize) -> Vec<u8> {
        let length = self.below(up_to + 1);
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }

    /// A text of odd characters.
    pub(crate) fn text(&mut self, up_to: usize) -> String {
        const ODD: [char; 18] = [
            'a', 'Z', '0', '-', '_', '.', '/', '%', '"', '\\', ' ', ':', ',', '=', 'ä', '\u{0}',
            '😀', '*',
        ];
        let length = self.below(up_to + 1);
        (0..length).map(|_| ODD[self.below(ODD.len())]).collect()
    }

    /// A number of those that break arithmetic.
    pub(crate) fn number(&mut self) -> i64 {
        const EDGES: [i64; 14] = [
            0,
            1,
            -1,
            2,
            5,
            30,
            200,
            3600,
            5000,
            5001,
            86_400 * 400,
            i64::MAX,
            i64::MIN,
            1 << 40,
        ];
        EDGES[self.below(EDGES.len())]
    }
}
