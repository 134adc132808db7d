use marine_sdk::marine;

mod shapes {
    use marine_sdk::marine;

    #[marine]
    #[derive(Clone, Debug, PartialEq)]
    pub struct Point {
        pub x: i32,
        pub r#type: String,
    }
}

use shapes::Point;

#[marine]
pub fn all_types(a: bool, b: i8, c: u64, d: f64, e: &str, f: &String, g: Vec<Vec<u8>>, h: &Point) -> Vec<Point> {
    let _ = (a, b, c, d, e, f, g);
    vec![h.clone()]
}

#[marine]
fn nothing() -> () {}

#[marine]
#[module_import("other")]
extern "C" {
    fn shift(point: &Point, by: i32) -> Point;

    #[link_name = "reset"]
    fn forget();
}

#[marine]
#[host_import]
extern "C" {
    fn tool(arguments: Vec<String>) -> String;
}

fn main() {
    let point = Point { x: 1, r#type: "corner".to_owned() };
    let points = all_types(true, 1, 2, 0.5, "", &String::new(), vec![], &point);
    assert_eq!(points, [point]);
    nothing();
}
